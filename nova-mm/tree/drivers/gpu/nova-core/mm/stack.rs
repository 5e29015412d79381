// SPDX-License-Identifier: GPL-2.0

//! Stacks of boxed objects, which are linked through the objects themselves.
//!
//! `kernel::list` does not fit, because its lists hold reference-counted objects.

use kernel::prelude::*;

/// An object that can be in a [`Stack`].
pub(crate) trait Link: Sized {
    /// Returns the link to the object below this one.
    fn below(&mut self) -> &mut Option<KBox<Self>>;
}

/// A stack of objects that are linked through themselves, so that pushing does not allocate memory.
pub(crate) struct Stack<T: Link> {
    top: Option<KBox<T>>,
    len: usize,
}

impl<T: Link> Stack<T> {
    /// Creates an empty stack.
    pub(crate) const fn new() -> Self {
        Self { top: None, len: 0 }
    }

    /// Returns whether the stack is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    /// Returns the number of objects.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Pushes an object.
    pub(crate) fn push(&mut self, mut object: KBox<T>) {
        *object.below() = self.top.take();
        self.top = Some(object);
        self.len += 1;
    }

    /// Removes and returns the top object.
    pub(crate) fn pop(&mut self) -> Option<KBox<T>> {
        let mut object = self.top.take()?;
        self.top = object.below().take();
        self.len -= 1;

        Some(object)
    }

    /// Moves all objects of `other` to this stack, in linear time.
    pub(crate) fn append(&mut self, other: &mut Self) {
        while let Some(object) = other.pop() {
            self.push(object);
        }
    }

    /// Removes and returns all objects.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }
}

impl<T: Link> Drop for Stack<T> {
    fn drop(&mut self) {
        // Drop the objects one by one. Dropping nested boxes recursively could overflow the kernel
        // stack.
        while self.pop().is_some() {}
    }
}
