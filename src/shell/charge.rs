//! Memory that is counted as long as somebody has it.

use crate::shard::memory::{Account, Purpose};
use std::cell::RefCell;
use std::rc::Rc;

/// The account of a core, which all of its tasks use.
pub type Memory = Rc<RefCell<Account>>;

/// Bytes charged for a purpose until this is dropped, on the core that made it.
pub struct Charge {
    memory: Memory,
    purpose: Purpose,
    bytes: usize,
}

impl Charge {
    pub fn new(memory: &Memory, purpose: Purpose, bytes: usize) -> Charge {
        memory.borrow_mut().charge(purpose, bytes);
        Charge { memory: memory.clone(), purpose, bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.borrow_mut().release(self.purpose, self.bytes);
    }
}
