//! The definitions, read several times in fresh instances that reach nothing, with clock and random elsewhere each time.

use super::component::{Made, What};
use super::manifest::Read;
use super::{Finding, Row, Severity, counted};
use crate::clean;
use crate::sandbox::Definition;

/// Where clock and random stand at each reading. The host reads at 0, twice here, and what depends on neither is the same at all.
pub(super) const READINGS: [u8; 5] = [0, 0, 1, 2, 255];

/// Most functions that are named for being no tool.
const REFUSED: usize = 20;

/// Reads them, and adds the row of it. Empty where they cannot be read.
pub(super) async fn read(made: &Made, read: &Read, rows: &mut Vec<Row>) -> Vec<Definition> {
    let mut first: Option<Vec<Definition>> = None;
    let mut findings = Vec::new();
    if made.kind == What::Functions
        && let Ok((_, refused)) = made.prepared.definitions(&made.limits).await
    {
        let warn = |(name, why): &(String, String)| Finding::warn("no-tool", format!("the function is no tool: {why}")).of(name);
        findings.extend(refused.iter().take(REFUSED).map(warn));
    }
    for (reading, seed) in READINGS.into_iter().enumerate() {
        let given = match made.prepared.definitions_as(seed, &made.limits).await {
            Ok(given) => given,
            Err(failure) => {
                let which = if reading == 0 { String::new() } else { format!(" at reading {}", reading + 1) };
                let what = format!("they cannot be read{which} ({}): {}", failure.kind.name(), failure.message);
                findings.push(Finding::error("definitions", what));
                break;
            }
        };
        match &first {
            None => first = Some(given),
            Some(before) => {
                if let Some(difference) = difference(before, &given) {
                    let what = format!(
                        "reading {} is not as the first: {difference}; they are read once, and must always be the same",
                        reading + 1
                    );
                    findings.push(Finding::error("unsteady", what));
                    break;
                }
            }
        }
    }
    let first = first.unwrap_or_default();
    if first.is_empty() && !findings.iter().any(|finding| finding.severity == Severity::Error) {
        findings.push(Finding::error("no-tools", "it defines no tool"));
    }
    let ids: Vec<String> = first.iter().map(|tool| format!("{}/{}", read.manifest.name, tool.name)).collect();
    let mut row = Row::new("definitions", format!("{}, read {} times", counted(first.len(), "tool"), READINGS.len()), findings);
    row.figures.insert("tools".to_owned(), ids.iter().map(|id| clean::line(id, clean::NAME)).collect());
    rows.push(row);
    first
}

/// The first thing in which two readings differ.
fn difference(before: &[Definition], now: &[Definition]) -> Option<String> {
    if before.len() != now.len() {
        return Some(format!("{} tools and not {}", now.len(), before.len()));
    }
    before.iter().zip(now).find_map(|(before, now)| {
        let shown = clean::line(&before.name, 64);
        let parts = [
            ("description", before.description != now.description),
            ("title", before.title != now.title),
            ("input schema", before.input_schema != now.input_schema),
            ("output schema", before.output_schema != now.output_schema),
            ("annotations", before.hints != now.hints),
        ];
        match parts.into_iter().find(|(_, differs)| *differs) {
            _ if before.name != now.name => Some(format!("the tool {shown} is called {}", clean::line(&now.name, 64))),
            Some((part, _)) => Some(format!("the {part} of {shown}")),
            None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, description: &str) -> Definition {
        Definition {
            name: name.to_owned(),
            title: None,
            description: description.to_owned(),
            input_schema: "{}".to_owned(),
            output_schema: None,
            hints: None,
        }
    }

    #[test]
    fn a_difference_is_named_by_what_differs() {
        let before = [tool("a", "One."), tool("b", "Two.")];
        assert_eq!(difference(&before, &before), None);
        assert_eq!(difference(&before, &before[..1]).unwrap(), "1 tools and not 2");
        assert_eq!(difference(&before, &[tool("a", "One."), tool("c", "Two.")]).unwrap(), "the tool b is called c");
        assert_eq!(difference(&before, &[tool("a", "One!"), tool("b", "Two.")]).unwrap(), "the description of a");
    }
}
