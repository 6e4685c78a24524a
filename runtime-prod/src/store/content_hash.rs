//! A 128-bit hash of an object's content: MurmurHash3 x64 128 (Austin Appleby, public domain), fed piece by piece.
//!
//! It names versions for a swap. Two contents that race for one name would have to collide in 128 bits for a stale swap
//! to be taken; machines compare contents besides, never names of versions.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// A hash in the making.
#[derive(Debug, Default)]
pub(super) struct ContentHash {
    h1: u64,
    h2: u64,
    tail: [u8; 16],
    in_tail: usize,
    len: u64,
}

impl ContentHash {
    /// Of one piece.
    pub(super) fn of(bytes: &[u8]) -> u128 {
        let mut hash = Self::default();
        hash.update(bytes);
        hash.finish()
    }

    /// Adds bytes; where they are cut makes no difference.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if self.in_tail > 0 {
            let fill = bytes.len().min(16 - self.in_tail);
            self.tail[self.in_tail..self.in_tail + fill].copy_from_slice(&bytes[..fill]);
            self.in_tail += fill;
            bytes = &bytes[fill..];
            if self.in_tail < 16 {
                return;
            }
            let (k1, k2) = words(&self.tail);
            self.block(k1, k2);
        }
        let (blocks, rest) = bytes.as_chunks::<16>();
        for block in blocks {
            let (k1, k2) = words(block);
            self.block(k1, k2);
        }
        self.tail[..rest.len()].copy_from_slice(rest);
        self.in_tail = rest.len();
    }

    /// The hash of all bytes added.
    pub(super) fn finish(mut self) -> u128 {
        self.tail[self.in_tail..].fill(0);
        let (k1, k2) = words(&self.tail);
        self.h2 ^= scramble2(k2);
        self.h1 ^= scramble1(k1);
        self.h1 ^= self.len;
        self.h2 ^= self.len;
        self.h1 = self.h1.wrapping_add(self.h2);
        self.h2 = self.h2.wrapping_add(self.h1);
        self.h1 = avalanche(self.h1);
        self.h2 = avalanche(self.h2);
        self.h1 = self.h1.wrapping_add(self.h2);
        self.h2 = self.h2.wrapping_add(self.h1);
        (u128::from(self.h1) << 64) | u128::from(self.h2)
    }

    fn block(&mut self, k1: u64, k2: u64) {
        self.h1 ^= scramble1(k1);
        self.h1 = self.h1.rotate_left(27).wrapping_add(self.h2);
        self.h1 = self.h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        self.h2 ^= scramble2(k2);
        self.h2 = self.h2.rotate_left(31).wrapping_add(self.h1);
        self.h2 = self.h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
}

fn words(block: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*block);
    (both as u64, (both >> 64) as u64)
}

fn scramble1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn scramble2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn avalanche(mut k: u64) -> u64 {
    k = (k ^ (k >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ (k >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        assert_eq!(ContentHash::of(b""), 0);
        assert_eq!(ContentHash::of(b"hello"), 0xcbd8_a7b3_41bd_9b02_5b1e_906a_48ae_1d19);
        let fox = b"The quick brown fox jumps over the lazy dog";
        assert_eq!(ContentHash::of(fox), 0xe34b_bc7b_bc07_1b6c_7a43_3ca9_c49a_9347);
    }

    #[test]
    fn cuts_make_no_difference() {
        let bytes: Vec<u8> = (0..100).map(|at| (at * 37) as u8).collect();
        for len in 0..bytes.len() {
            for cut in 0..=len {
                let mut hash = ContentHash::default();
                hash.update(&bytes[..cut]);
                hash.update(&bytes[cut..len]);
                assert_eq!(hash.finish(), ContentHash::of(&bytes[..len]), "{len} bytes cut at {cut}");
            }
        }
    }
}
