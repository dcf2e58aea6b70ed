//! The thread pool of a context and the split of work over it.
//!
//! Work is cut into blocks by its size alone, and what blocks return is combined in their order, so results
//! do not depend on the number of threads.

use crate::cpu::simd::Isa;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Blocks of one call at most: bounds the partial sums, which live on the caller's stack.
pub const MAX_BLOCKS: usize = 256;

/// Below this much memory traffic a call stays on the caller's thread: waking workers costs more.
const SERIAL_BYTES: usize = 256 << 10;

pub struct Cpu {
    threads: usize,
    pub isa: Isa,
    pool: AtomicPtr<Pool>,
}

/// Threads belong to the process that started them: after fork() the child needs new ones.
struct Pool {
    process: u32,
    /// `None` where threads could not be started; work then runs on the caller's thread.
    threads: Option<rayon::ThreadPool>,
}

impl Cpu {
    /// `threads = 0`: one per processor.
    pub fn new(threads: usize) -> Cpu {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        Cpu { threads, isa: Isa::detect(), pool: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Runs `block(0)` to `block(count - 1)`, on several threads where `bytes` of traffic make it worth it.
    pub fn run(&self, count: usize, bytes: usize, block: &(dyn Fn(usize) + Sync)) {
        if count > 1
            && let Some(pool) = self.workers(bytes)
        {
            let next = AtomicUsize::new(0);
            // Runs of blocks: what a thread asks for ahead of its own is then rarely another's.
            let run = |at: usize| (at < count).then(|| at + ((count - at) / (2 * self.threads)).max(1));
            let take_run = || next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, run).ok();
            let take_blocks = || {
                while let Some(at) = take_run() {
                    (at..run(at).unwrap_or(count)).for_each(block);
                }
            };
            // The caller's thread works too: it is awake.
            pool.in_place_scope(|scope| {
                (1..self.threads.min(count)).for_each(|_| scope.spawn(|_| take_blocks()));
                take_blocks();
            });
        } else {
            (0..count).for_each(block);
        }
    }

    /// Both, side by side where `bytes` of traffic make it worth it.
    pub fn join<A, B: Send>(
        &self,
        bytes: usize,
        a: impl FnOnce() -> A,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        if let Some(pool) = self.workers(bytes) {
            let mut other = None;
            let one = pool.in_place_scope(|scope| {
                scope.spawn(|_| other = Some(b()));
                a()
            });
            // The scope ends when all has run; a panic goes on from there.
            (one, other.expect("has run"))
        } else {
            (a(), b())
        }
    }

    /// Sum of what the blocks return, in their order. At most [`MAX_BLOCKS`] of them.
    pub fn sum(&self, count: usize, bytes: usize, block: &(dyn Fn(usize) -> f64 + Sync)) -> f64 {
        struct Partials([UnsafeCell<f64>; MAX_BLOCKS]);
        // SAFETY: block i alone writes place i.
        unsafe impl Sync for Partials {}
        assert!(count <= MAX_BLOCKS);
        if count == 1 {
            return block(0);
        }
        let partials = Partials([const { UnsafeCell::new(0.0) }; MAX_BLOCKS]);
        let places = &partials;
        self.run(count, bytes, &|i| unsafe { *places.0[i].get() = block(i) });
        partials.0[..count].iter().map(|p| unsafe { *p.get() }).sum()
    }

    /// Other threads, if there are any and `bytes` of traffic make it worth waking them.
    fn workers(&self, bytes: usize) -> Option<&rayon::ThreadPool> {
        if self.threads > 1 && bytes > SERIAL_BYTES { self.pool().threads.as_ref() } else { None }
    }

    fn pool(&self) -> &Pool {
        let process = std::process::id();
        loop {
            let current = self.pool.load(Ordering::Acquire);
            // SAFETY: a published pool is only freed by drop.
            if let Some(pool) = unsafe { current.as_ref() }
                && pool.process == process
            {
                return pool;
            }
            // A pool inherited through fork() is left alone: joining threads that are not there would hang.
            let fresh = Box::into_raw(Box::new(Pool { process, threads: self.start() }));
            let swap = self.pool.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire);
            if swap.is_err() {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }

    fn start(&self) -> Option<rayon::ThreadPool> {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(self.threads - 1);
        builder.thread_name(|i| format!("losskit-{i}")).build().ok()
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        let pool = *self.pool.get_mut();
        // SAFETY: made by Box::into_raw in `pool`, and no call is running any more.
        if let Some(inner) = unsafe { pool.as_ref() }
            && inner.process == std::process::id()
        {
            drop(unsafe { Box::from_raw(pool) });
        }
    }
}

/// `total` items in blocks of whole items, by size alone: big enough to be worth a task, few enough for
/// [`MAX_BLOCKS`].
#[derive(Clone, Copy)]
pub struct Blocks {
    total: usize,
    each: usize,
    pub count: usize,
}

impl Blocks {
    /// `least` items per block; a block is a multiple of `multiple`.
    pub fn new(total: usize, least: usize, multiple: usize) -> Blocks {
        let each = total.div_ceil(MAX_BLOCKS).max(least).max(1).next_multiple_of(multiple);
        Blocks { total, each, count: total.div_ceil(each) }
    }

    pub fn range(&self, block: usize) -> std::ops::Range<usize> {
        block * self.each..((block + 1) * self.each).min(self.total)
    }
}

/// A buffer whose places are written by different blocks, each place by one.
#[derive(Clone, Copy)]
pub struct Cells<'a, T: Copy = f32>(&'a [UnsafeCell<T>]);

// SAFETY: see `set` and `get`.
unsafe impl<T: Copy + Send> Sync for Cells<'_, T> {}

impl<'a, T: Copy> Cells<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Cells<'a, T> {
        // SAFETY: UnsafeCell<T> has the layout of T, and the slice is ours alone.
        Cells(unsafe { &*(std::ptr::from_mut(slice) as *const [UnsafeCell<T>]) })
    }

    pub fn set(&self, index: usize, value: T) {
        // SAFETY: no two blocks of a skeleton have the same place.
        unsafe { *self.0[index].get() = value }
    }

    pub fn get(&self, index: usize) -> T {
        // SAFETY: the block that writes a place is the only one to read it meanwhile.
        unsafe { *self.0[index].get() }
    }

    /// Pointer to place `index` and those after it.
    pub fn at(&self, index: usize) -> *mut T {
        self.0[index..].as_ptr().cast_mut().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_everything_once() {
        for total in [0, 1, 255, 256, 257, 100_003] {
            let blocks = Blocks::new(total, 10, 4);
            let mut next = 0;
            for i in 0..blocks.count {
                assert_eq!(blocks.range(i).start, next);
                assert!(!blocks.range(i).is_empty());
                next = blocks.range(i).end;
            }
            assert_eq!(next, total);
            assert!(blocks.count <= MAX_BLOCKS);
        }
    }

    #[test]
    fn sums_do_not_depend_on_threads() {
        let values: Vec<f64> = (0..200).map(|i| 1.0 / (i as f64 + 0.1)).collect();
        let expected = Cpu::new(1).sum(200, 1 << 30, &|i| values[i]);
        for threads in [2, 3, 7] {
            assert_eq!(Cpu::new(threads).sum(200, 1 << 30, &|i| values[i]), expected);
        }
    }

    #[test]
    fn a_forked_child_computes_with_its_own_pool() {
        let cpu = Cpu::new(2);
        assert_eq!(cpu.sum(100, 1 << 30, &|i| i as f64), 4950.0);
        // SAFETY: the child only computes and leaves without running the parent's cleanup.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let right = cpu.sum(100, 1 << 30, &|i| i as f64) == 4950.0;
            unsafe { libc::_exit(if right { 7 } else { 1 }) };
        }
        let mut status = 0;
        unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(libc::WEXITSTATUS(status), 7);
    }
}
