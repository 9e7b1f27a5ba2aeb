//! What the calling thread allocates, counted by the allocator of the test binary.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts for each thread, since tests run beside one another.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn grown(by: usize) {
    LIVE.set(LIVE.get().wrapping_add_unsigned(by));
    PEAK.set(PEAK.get().max(LIVE.get()));
}

fn shrunk(by: usize) {
    LIVE.set(LIVE.get().wrapping_sub_unsigned(by));
}

#[expect(
    unsafe_code,
    reason = "an allocator that counts is the only exact measure of a peak"
)]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While a block moves, both are there.
        grown(size);
        shrunk(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does some work, and says how many bytes this thread held at most beyond what it held before.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LIVE.set(0);
    PEAK.set(0);
    let done = work();
    (done, PEAK.get().unsigned_abs())
}

#[test]
fn a_peak_is_what_is_held_at_one_time() {
    let (kept, peak) = peak(|| {
        drop(vec![0u8; 3000]);
        let mut grows = vec![1u8; 1000];
        grows.reserve_exact(1000);
        grows
    });
    assert_eq!(kept.len(), 1000);
    assert!((3000..3100).contains(&peak), "{peak}");
}
