// SPDX-License-Identifier: GPL-2.0

//! Digests in lower-case hexadecimal digits.

use std::io::Read;

use sha2::{Digest, Sha256};

pub fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}

/// Calls `read` with the number of bytes of each step. Returns hexadecimal digits.
pub fn sha256_of(from: &mut impl Read, mut read: impl FnMut(usize)) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hex(hash.finalize())),
            n => {
                hash.update(&buffer[..n]);
                read(n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_stream() {
        let bytes = vec![b'a'; (1 << 20) + 1];
        let mut sum = 0;
        let hash = sha256_of(&mut &bytes[..], |n| sum += n).unwrap();
        assert_eq!((hash, sum), (sha256(&bytes), bytes.len()));
        // From coreutils' sha256sum of an empty file.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(""), empty);
    }
}
