//! Memory of windows, used again and again: a window is so large that the allocator fetches each from the kernel and gives it back.
//!
//! What comes back is wiped, so that no leg's features wait in memory for the next one's.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use zeroize::Zeroize as _;

/// Memory that waits for windows. Cheap to clone: all clones share it.
#[derive(Debug, Clone, Default)]
pub struct Buffers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    spare: Mutex<Spare>,
    /// More than so many are not kept.
    most: usize,
    /// Bytes of the windows that are lent.
    lent_bytes: AtomicUsize,
}

/// Windows to come.
#[derive(Debug, Default)]
struct Spare {
    /// All 0.
    windows: Vec<Vec<f32>>,
    bytes: usize,
}

/// A window whose memory goes back when it is dropped.
#[derive(Debug)]
pub struct Lent {
    values: Vec<f32>,
    buffers: Buffers,
}

impl Buffers {
    /// Memory of which at most so many windows are kept. The default keeps none.
    pub fn new(most: usize) -> Self {
        Self { shared: Arc::new(Shared { most, ..Shared::default() }) }
    }

    /// So many values, all 0.
    pub fn take(&self, values: usize) -> Vec<f32> {
        let mut buffer = self.spare().pop().unwrap_or_default();
        buffer.resize(values, 0.0);
        buffer
    }

    /// Takes a window's memory back.
    pub fn give(&self, mut values: Vec<f32>) {
        if self.shared.most > self.spare().windows.len() {
            values.fill(0.0);
            let mut spare = self.spare();
            if self.shared.most > spare.windows.len() {
                return spare.push(values);
            }
        }
        values.zeroize();
    }

    /// A window whose memory goes back here.
    pub fn lend(&self, values: Vec<f32>) -> Lent {
        self.shared.lent_bytes.fetch_add(bytes(&values), Ordering::Relaxed);
        Lent { values, buffers: self.clone() }
    }

    /// Bytes of the windows that are lent, and of those that are kept for windows to come.
    pub fn bytes(&self) -> usize {
        self.shared.lent_bytes.load(Ordering::Relaxed) + self.spare().bytes
    }

    fn spare(&self) -> MutexGuard<'_, Spare> {
        self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spare {
    fn push(&mut self, values: Vec<f32>) {
        self.bytes += bytes(&values);
        self.windows.push(values);
    }

    fn pop(&mut self) -> Option<Vec<f32>> {
        let values = self.windows.pop()?;
        self.bytes -= bytes(&values);
        Some(values)
    }
}

impl Deref for Lent {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        self.buffers.shared.lent_bytes.fetch_sub(bytes(&values), Ordering::Relaxed);
        self.buffers.give(values);
    }
}

fn bytes(values: &Vec<f32>) -> usize {
    values.capacity() * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_wiped_and_is_used_again() {
        let buffers = Buffers::new(1);
        let mut window = buffers.take(4);
        assert_eq!(window, [0.0; 4]);
        window.fill(7.0);
        let place = window.as_ptr();
        drop(buffers.lend(window));
        assert_eq!(buffers.bytes(), 16);
        let again = buffers.clone().take(3);
        assert_eq!((again.as_ptr(), again.as_slice()), (place, [0.0; 3].as_slice()));
        assert_eq!(buffers.bytes(), 0);
    }

    #[test]
    fn no_more_is_kept_than_was_told() {
        let buffers = Buffers::new(2);
        let windows: Vec<_> = (0..5).map(|_| buffers.lend(buffers.take(10))).collect();
        assert_eq!(buffers.bytes(), 200, "what is lent is counted");
        drop(windows);
        assert_eq!(buffers.bytes(), 80);
        let none = Buffers::default();
        none.give(vec![1.0; 10]);
        assert_eq!(none.bytes(), 0);
    }
}
