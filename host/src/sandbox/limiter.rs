//! Memory and tables of an instance, summed.

use palisade_policy::{Limit, Limits};
use wasmtime::ResourceLimiter;

/// Counts what all memories and tables of one instance hold together. The engine's own limiter counts each by itself.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: usize,
    memory_max: usize,
    elements: usize,
    elements_max: usize,
    instances: usize,
    memories: usize,
    /// Set when a guest asked for more memory than it may have: the trap that follows is `limit-memory`.
    pub(crate) hit: bool,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: 0,
            memory_max: limits.size(Limit::Memory),
            elements: 0,
            elements_max: limits.size(Limit::TableElements),
            instances: limits.size(Limit::Instances),
            memories: limits.size(Limit::Memories),
            hit: false,
        }
    }

    /// The most the memories ever held: they never shrink.
    pub(crate) fn peak(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.memory.saturating_add(desired.saturating_sub(current));
        if sum > self.memory_max {
            self.hit = true;
            return Err(wasmtime::Error::msg("the memory limit is reached"));
        }
        self.memory = sum;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.elements.saturating_add(desired.saturating_sub(current));
        if sum > self.elements_max {
            return Err(wasmtime::Error::msg("the table limit is reached"));
        }
        self.elements = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        // No more tables than core instances; their elements are what costs.
        self.instances
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
