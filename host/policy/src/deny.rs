//! The deny list.
//!
//! | entry | denies |
//! |---|---|
//! | a name | the tool whose id, bare tool name or MCP name equals it |
//! | a prefix | every tool of which one of these starts with it |
//!
//! Letter case never matters. An entry of no characters is an error, because an empty prefix would deny everything
//! silently. Layers are united: the list only ever grows.

use crate::Origin;
use std::collections::{BTreeSet, HashMap};

/// An empty name or prefix, which is an error wherever it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an empty {what} in a deny list is an error: a name denies one tool, a prefix all that start with it")]
pub struct EmptyRule {
    /// `name` or `prefix`.
    pub what: &'static str,
}

/// Names and prefixes that deny.
///
/// ```
/// use palisade_policy::{DenyList, Origin};
/// let deny = DenyList::from_iters(["Text-Stats/COUNT"], ["secrets/"]).unwrap();
/// assert!(deny.matching_id("text-stats", "count").is_some());
/// assert!(deny.matching_id("secrets", "scan").is_some());
/// assert!(deny.matching_id("search", "grep").is_none());
/// ```
#[derive(Debug, Clone, Default)]
pub struct DenyList {
    // Each entry with all places that wrote it, the first one first.
    names: HashMap<String, Vec<Entry>>,
    prefixes: Vec<(String, Vec<Entry>)>,
    known_prefixes: HashMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    written: String,
    origin: Origin,
}

/// One that stands there already is not there twice.
fn extend(known: &mut Vec<Entry>, entries: Vec<Entry>) {
    for entry in entries {
        if !known.contains(&entry) {
            known.push(entry);
        }
    }
}

impl Entry {
    fn denies(&self, prefix: bool) -> DenyMatch<'_> {
        DenyMatch { written: &self.written, origin: &self.origin, prefix }
    }
}

/// The entry that denies a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenyMatch<'a> {
    /// As it was written.
    pub written: &'a str,
    /// Where it was written.
    pub origin: &'a Origin,
    /// Whether it is a prefix, else a name.
    pub prefix: bool,
}

impl DenyList {
    /// A list from code: names and prefixes in any letter case.
    ///
    /// # Errors
    /// [`EmptyRule`] when an entry is empty.
    pub fn from_iters<N, P>(names: N, prefixes: P) -> Result<Self, EmptyRule>
    where
        N: IntoIterator<Item: AsRef<str>>,
        P: IntoIterator<Item: AsRef<str>>,
    {
        let mut list = Self::default();
        for name in names {
            list.add_name(name.as_ref(), Origin::Code)?;
        }
        for prefix in prefixes {
            list.add_prefix(prefix.as_ref(), Origin::Code)?;
        }
        Ok(list)
    }

    /// Adds a name. The first place that wrote it stays its origin.
    ///
    /// # Errors
    /// [`EmptyRule`] when it is empty.
    pub fn add_name(&mut self, name: &str, origin: Origin) -> Result<(), EmptyRule> {
        if name.trim().is_empty() {
            return Err(EmptyRule { what: "name" });
        }
        self.names.entry(fold(name)).or_default().push(Entry { written: name.to_owned(), origin });
        Ok(())
    }

    /// Adds a prefix.
    ///
    /// # Errors
    /// [`EmptyRule`] when it is empty.
    pub fn add_prefix(&mut self, prefix: &str, origin: Origin) -> Result<(), EmptyRule> {
        if prefix.trim().is_empty() {
            return Err(EmptyRule { what: "prefix" });
        }
        self.push_prefix(fold(prefix), vec![Entry { written: prefix.to_owned(), origin }]);
        Ok(())
    }

    /// Unites another layer into this one.
    pub fn unite(&mut self, other: Self) {
        for (folded, entries) in other.names {
            extend(self.names.entry(folded).or_default(), entries);
        }
        for (folded, entries) in other.prefixes {
            self.push_prefix(folded, entries);
        }
    }

    fn push_prefix(&mut self, folded: String, entries: Vec<Entry>) {
        if let Some((_, known)) = self.known_prefixes.get(&folded).and_then(|at| self.prefixes.get_mut(*at)) {
            extend(known, entries);
            return;
        }
        self.known_prefixes.insert(folded.clone(), self.prefixes.len());
        self.prefixes.push((folded, entries));
    }

    /// How many entries the list holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len() + self.prefixes.len()
    }

    /// Whether the list denies nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What denies the tool `source/tool`; a name before a prefix.
    #[must_use]
    pub fn matching_id(&self, source: &str, tool: &str) -> Option<DenyMatch<'_>> {
        let forms = Forms::of(source, tool);
        self.matching_name(&forms).or_else(|| self.matching_prefix(&forms))
    }

    pub(crate) fn matching_name(&self, forms: &Forms) -> Option<DenyMatch<'_>> {
        if self.names.is_empty() { None } else { self.all_names(forms).next() }
    }

    pub(crate) fn matching_prefix(&self, forms: &Forms) -> Option<DenyMatch<'_>> {
        self.all_prefixes(forms).next()
    }

    /// Every name that denies, at every place it stands.
    pub(crate) fn all_names(&self, forms: &Forms) -> impl Iterator<Item = DenyMatch<'_>> {
        forms.0.iter().filter_map(|form| self.names.get(form)).flatten().map(|entry| entry.denies(false))
    }

    /// The same of prefixes.
    pub(crate) fn all_prefixes(&self, forms: &Forms) -> impl Iterator<Item = DenyMatch<'_>> {
        let matches = |prefix: &str| forms.0.iter().any(|form| form.starts_with(prefix));
        self.prefixes.iter().filter(move |(prefix, _)| matches(prefix)).flat_map(|(_, all)| all).map(|entry| entry.denies(true))
    }

    /// The entries that match none of these tools (as `(source, tool)`), so that a typing error can be reported.
    pub fn unmatched<'a>(&self, tools: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, Origin)> {
        // Sorted, so that the first form at or after a prefix tells whether any starts with it.
        let forms: BTreeSet<String> = tools.into_iter().flat_map(|(source, tool)| Forms::of(source, tool).0).collect();
        let starts = |prefix: &String| forms.range(prefix.clone()..).next().is_some_and(|form| form.starts_with(prefix.as_str()));
        let names = self.names.iter().filter(|(folded, _)| !forms.contains(*folded)).map(|(_, entry)| entry);
        let prefixes = self.prefixes.iter().filter(|(folded, _)| !starts(folded)).map(|(_, entry)| entry);
        let mut found: Vec<_> =
            names.chain(prefixes).filter_map(|all| all.first()).map(|e| (e.written.clone(), e.origin.clone())).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

/// The three spellings a deny entry is compared with, folded: id, bare tool name, MCP name.
#[derive(Debug, Clone)]
pub(crate) struct Forms(pub(crate) [String; 3]);

impl Forms {
    pub(crate) fn of(source: &str, tool: &str) -> Self {
        Self([fold(&format!("{source}/{tool}")), fold(tool), fold(&crate::mcp_name(source, tool))])
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase()
}
