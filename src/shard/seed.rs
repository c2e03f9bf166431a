//! Ids that look random, from bits that the shell gives once: so that the same inputs make the same ids.

use crate::types::Uuid;

pub struct Seed(u128);

impl Seed {
    pub fn new(bits: u128) -> Seed {
        Seed(bits)
    }

    /// The next id: version 4 of RFC 9562 in form, never zero.
    pub fn next_id(&mut self) -> Uuid {
        self.0 = self.0.wrapping_mul(0xda94_2042_e4dd_58b5_f39c_c060_5ced_c835).wrapping_add(0x9e37_79b9_7f4a_7c15);
        Uuid::from_random(self.0 ^ (self.0 >> 67))
    }
}
