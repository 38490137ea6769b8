//! `memcpy` and `memmove` for x86-64, in place of musl's.
//!
//! musl copies by `rep movsq`, which takes some thirty cycles to begin, and byte by byte downwards where the ranges overlap
//! so, as in every insertion into a sorted list. An ADD copies five thousand times, a few dozen bytes each, and each of its
//! guests a thousand times: a fortieth of the one's time, and a tenth of the other's, went there.

#![allow(unsafe_code, reason = "this is what the compiler makes of a copy")]

use std::arch::x86_64::__m128i;

/// Two registers: what the loops copy at once.
type Block = [__m128i; 2];

/// The size of a [`Block`], bytes.
const BLOCK: usize = size_of::<Block>();

/// Copies `length` bytes; the ranges may overlap.
///
/// Nothing in here may become a call of `memcpy` or `memmove`, since this is what would be called. So all sizes are
/// constant, and in the loops the compiler cannot know that the ranges are apart.
///
/// # Safety
/// `from` can be read and `to` be written for `length` bytes.
#[inline(always)]
unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: `both_ends` gets a length that its type allows, the loops a longer one, and the ranges are the caller's.
    unsafe {
        match length {
            0 => {}
            1 => both_ends::<u8>(to, from, length),
            2..=3 => both_ends::<u16>(to, from, length),
            4..=7 => both_ends::<u32>(to, from, length),
            8..=15 => both_ends::<u64>(to, from, length),
            16..=32 => both_ends::<__m128i>(to, from, length),
            33..=64 => both_ends::<Block>(to, from, length),
            // `to` lies before `from`, or behind all of it.
            _ if to.addr().wrapping_sub(from.addr()) >= length => upwards(to, from, length),
            _ => downwards(to, from, length),
        }
    }
}

/// Copies the first and the last `T`, which overlap or touch. Both are read before one is written.
///
/// # Safety
/// As for [`copy`]; `length` is from one to two times the size of `T`.
#[inline(always)]
unsafe fn both_ends<T: Copy>(to: *mut u8, from: *const u8, length: usize) {
    let last = length.wrapping_sub(size_of::<T>());
    // SAFETY: Either begins within the range and is not longer than what is left of it.
    unsafe {
        let first_value = from.cast::<T>().read_unaligned();
        let last_value = from.add(last).cast::<T>().read_unaligned();
        to.cast::<T>().write_unaligned(first_value);
        to.add(last).cast::<T>().write_unaligned(last_value);
    }
}

/// Copies block by block from the first on. The last one is read before, for it may not be whole and overlaps its neighbour.
///
/// # Safety
/// As for [`copy`]; `length` is more than a block, and `to` lies before `from` or behind all of it.
#[inline(always)]
unsafe fn upwards(to: *mut u8, from: *const u8, length: usize) {
    let last = length.wrapping_sub(BLOCK);
    // SAFETY: Each block begins at the last one's place at most. What a block is written over was read before.
    unsafe {
        let last_block = from.add(last).cast::<Block>().read_unaligned();
        let mut at = 0;
        while at < last {
            let block = from.add(at).cast::<Block>().read_unaligned();
            to.add(at).cast::<Block>().write_unaligned(block);
            at = at.wrapping_add(BLOCK);
        }
        to.add(last).cast::<Block>().write_unaligned(last_block);
    }
}

/// Copies block by block from the last on. The first one is read before, for it may not be whole and overlaps its neighbour.
///
/// # Safety
/// As for [`copy`]; `length` is more than a block, and `to` lies behind `from`.
#[inline(always)]
unsafe fn downwards(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: Each block ends within the range, and more than a block is left. What a block is written over was read before.
    unsafe {
        let first_block = from.cast::<Block>().read_unaligned();
        let mut end = length;
        while end > BLOCK {
            end = end.wrapping_sub(BLOCK);
            let block = from.add(end).cast::<Block>().read_unaligned();
            to.add(end).cast::<Block>().write_unaligned(block);
        }
        to.cast::<Block>().write_unaligned(first_block);
    }
}

/// What every copy calls whose length the compiler does not know.
#[cfg(not(test))]
mod called {
    /// C's `memcpy`.
    ///
    /// # Safety
    /// As C says.
    // SAFETY: It does what the name says.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: The caller keeps C's promise, of which one half is enough.
        unsafe { super::copy(to, from, length) };
        to
    }

    /// C's `memmove`.
    ///
    /// # Safety
    /// As C says.
    // SAFETY: It does what the name says.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: The caller keeps C's promise.
        unsafe { super::copy(to, from, length) };
        to
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Within one buffer, from one place to another.
    fn copied(buffer: &[u8], to: usize, from: usize, length: usize) -> Vec<u8> {
        let mut buffer = buffer.to_vec();
        assert!(to + length <= buffer.len() && from + length <= buffer.len());
        let start = buffer.as_mut_ptr();
        // SAFETY: Both ranges are within the buffer.
        unsafe { copy(start.add(to), start.add(from), length) };
        buffer
    }

    fn expected(buffer: &[u8], to: usize, from: usize, length: usize) -> Vec<u8> {
        let mut buffer = buffer.to_vec();
        let source = buffer[from..from + length].to_vec();
        buffer[to..to + length].iter_mut().zip(source).for_each(|(slot, byte)| *slot = byte);
        buffer
    }

    #[test]
    fn every_short_length_is_copied_at_every_distance() {
        let buffer: Vec<u8> = (0..=255).cycle().take(600).collect();
        for length in 0..200 {
            for to in 0..=2 * length.min(100) + 3 {
                let from = length.min(100) + 1;
                assert_eq!(copied(&buffer, to, from, length), expected(&buffer, to, from, length), "{length} at {to}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_length_is_copied_at_any_distance(
            buffer in proptest::collection::vec(any::<u8>(), 1..5000),
            places in any::<[prop::sample::Index; 3]>(),
        ) {
            let [to, from] = [places[0], places[1]].map(|place| place.index(buffer.len()));
            let length = places[2].index(buffer.len() - to.max(from) + 1);
            prop_assert_eq!(copied(&buffer, to, from, length), expected(&buffer, to, from, length));
        }
    }
}
