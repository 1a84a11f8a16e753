//! Batches of few sizes: each is filled up with windows of zeros to the next size that the network is run at.

use zeroize::{Zeroize as _, Zeroizing};

/// The sizes of batches that a network is run at, and the memory to fill them up in.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Ascending; none: any size.
    sizes: Vec<usize>,
    filled: Zeroizing<Vec<f32>>,
}

impl Buckets {
    /// Of these sizes, ascending; none: any.
    pub(super) fn new(sizes: Vec<usize>) -> Self {
        Self { sizes, filled: Zeroizing::default() }
    }

    /// Has `run` run `batch` windows in batches of these sizes, and gives back the rows of those windows, one after another. `run` is given
    /// windows and their number, and gives back as many rows.
    pub(super) fn run<E>(
        &mut self,
        windows: &[f32],
        batch: usize,
        mut run: impl FnMut(&[f32], usize) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f32>, E> {
        let Some(&largest) = self.sizes.last() else { return run(windows, batch) };
        let length = windows.len() / batch;
        let mut rows = Vec::new();
        for part in windows.chunks(largest * length) {
            let there = part.len() / length;
            let size = self.sizes.iter().copied().find(|&size| size >= there).unwrap_or(there);
            if size == there {
                rows.extend(run(part, there)?);
                continue;
            }
            self.filled.extend_from_slice(part);
            self.filled.resize(size * length, 0.0);
            let all = run(&self.filled, size);
            // Nothing that was heard waits in it for the next batch.
            self.filled.zeroize();
            let all = all?;
            rows.extend_from_slice(&all[..all.len() / size * there]);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Batches that were run, and the rows of windows 1, 2, 3 and so on of two values each.
    fn run(sizes: &[usize], batch: u16) -> (Vec<usize>, Vec<f32>) {
        let windows: Vec<f32> = (1..=batch).flat_map(|window| [f32::from(window), 0.5]).collect();
        let mut ran = Vec::new();
        let mut buckets = Buckets::new(sizes.to_vec());
        let rows = buckets.run(&windows, batch.into(), |windows, batch| {
            assert_eq!(windows.len(), 2 * batch);
            ran.push(batch);
            Ok::<_, Infallible>(windows.chunks(2).map(|window| window[0]).collect())
        });
        assert!(buckets.filled.is_empty());
        (ran, rows.unwrap())
    }

    #[test]
    fn batches_are_filled_up_to_the_next_size_and_parted_at_the_largest() {
        for (batch, expected) in
            [(1, vec![1]), (2, vec![4]), (4, vec![4]), (5, vec![8]), (8, vec![8]), (9, vec![8, 1]), (19, vec![8, 8, 4])]
        {
            let (ran, rows) = run(&[1, 4, 8], batch);
            assert_eq!(ran, expected, "{batch} windows");
            assert_eq!(
                rows,
                (1..=batch).map(f32::from).collect::<Vec<_>>(),
                "each gets its own row, and nobody a filling's"
            );
        }
    }

    #[test]
    fn without_sizes_every_batch_is_run_as_it_is() {
        assert_eq!(run(&[], 5).0, [5]);
    }

    #[test]
    fn a_batch_that_failed_leaves_nothing_behind() {
        let mut buckets = Buckets::new(vec![4]);
        assert_eq!(buckets.run(&[1.0, 2.0], 2, |_, _| Err::<Vec<f32>, _>("no")), Err("no"));
        assert!(buckets.filled.is_empty());
    }
}
