// SPDX-License-Identifier: GPL-2.0

//! Stacks that need no memory of their own.
//!
//! The links are `KBox`es: the lists of `kernel::list` hold objects with reference counts.

use kernel::prelude::*;

/// An object that can be in a [`Stack`].
pub(crate) trait Link: Sized {
    /// Returns where the object below this one is kept.
    fn below(&mut self) -> &mut Option<KBox<Self>>;
}

/// A stack of objects that are linked through themselves, so that pushing one does not allocate.
pub(crate) struct Stack<T: Link> {
    top: Option<KBox<T>>,
    len: usize,
}

impl<T: Link> Stack<T> {
    /// Creates an empty stack.
    pub(crate) const fn new() -> Self {
        Self { top: None, len: 0 }
    }

    /// Returns whether there are no objects.
    pub(crate) fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    /// Returns the number of objects.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts an object on top.
    pub(crate) fn push(&mut self, mut object: KBox<T>) {
        *object.below() = self.top.take();
        self.top = Some(object);
        self.len += 1;
    }

    /// Takes the object on top.
    pub(crate) fn pop(&mut self) -> Option<KBox<T>> {
        let mut object = self.top.take()?;
        self.top = object.below().take();
        self.len -= 1;

        Some(object)
    }

    /// Moves all objects of `other` onto this stack, in time proportional to their number.
    pub(crate) fn append(&mut self, other: &mut Self) {
        while let Some(object) = other.pop() {
            self.push(object);
        }
    }

    /// Takes all objects.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }
}

impl<T: Link> Drop for Stack<T> {
    fn drop(&mut self) {
        // One by one: if each dropped the one below it, the stack of the CPU would be used up.
        while self.pop().is_some() {}
    }
}
