//! What it costs, in numbers. None of them makes an error: they are of this machine, at this moment.

use super::component::Made;
use super::{Finding, Row};
use crate::record::duration;
use palisade_policy::Limit;
use std::time::Duration;

/// An instance that takes longer makes every call slow: a fresh one is made for each.
const INSTANCE: Duration = Duration::from_millis(50);

/// The row; `worst` is the most memory that a call took, in bytes.
pub(super) async fn row(made: &Made, worst: usize) -> Row {
    let mut findings = Vec::new();
    let limit = |limit: Limit| made.limits.get(limit);
    // Half of a limit leaves little for a larger argument, or a slower machine.
    let mut over = |rule, what: &str, value: u64, of: Limit| {
        if value > limit(of) / 2 {
            let (shown, most) = (of.show(value), of.show(limit(of)));
            findings.push(Finding::warn(rule, format!("{what} {shown}, more than half of the limit `{}`, {most}", of.key())));
        }
    };
    over("size", "the component has", made.size, Limit::Component);
    over("memory", "a call took", worst as u64, Limit::Memory);
    let took = made.compiled.unwrap_or_default();
    over("compile-time", "compiling took", u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Limit::CompileTime);
    let instance = made.prepared.instance(&made.limits).await;
    match &instance {
        Ok(instance) if instance.took > INSTANCE => {
            let what = format!("an instance takes {} to make, and each call makes one", duration(instance.took));
            findings.push(Finding::warn("instance-time", what));
        }
        Ok(_) => {}
        Err(failure) => findings.push(Finding::error("instance", format!("no instance can be made: {}", failure.message))),
    }
    let bytes = |value: u64| Limit::Memory.show(value);
    let compiled = made.compiled.map_or_else(|| "compiled before".to_owned(), |took| format!("compiled in {}", duration(took)));
    let mut summary = format!("{}, {compiled}", bytes(made.size));
    let mut figures = serde_json::Map::new();
    figures.insert("component_bytes".to_owned(), made.size.into());
    figures.insert("compile_ms".to_owned(), made.compiled.map(|took| took.as_millis() as u64).into());
    if let Ok(instance) = instance {
        summary.push_str(&format!(", instance {} with {}", duration(instance.took), bytes(instance.memory as u64)));
        figures.insert("instance_us".to_owned(), (instance.took.as_secs_f64() * 1e6).into());
        figures.insert("instance_bytes".to_owned(), instance.memory.into());
    }
    if worst > 0 {
        summary.push_str(&format!(", a call at most {}", bytes(worst as u64)));
        figures.insert("call_bytes".to_owned(), worst.into());
    }
    Row { figures, ..Row::new("costs", summary, findings) }
}
