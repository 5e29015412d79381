// SPDX-License-Identifier: GPL-2.0

//! Hexadecimal digests.

use sha2::{
    Digest,
    Sha256, //
};

/// Returns a digest in lower-case hexadecimal digits.
pub fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Returns the hexadecimal SHA-256 of `bytes`.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}
