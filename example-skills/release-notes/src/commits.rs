//! Commits out of a log: `git log` as it prints by itself, with `--oneline`, or a list of subjects.

/// What a commit is for a reader of notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something new.
    Feature,
    /// Something mended.
    Fix,
    /// A merge alone.
    Merge,
    /// Anything else.
    Other,
}

/// A commit.
#[derive(Debug, PartialEq, Eq)]
pub struct Commit {
    /// As the log has it.
    pub id: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// The part it is about.
    pub scope: Option<String>,
    /// What it says of itself.
    pub summary: String,
    /// `Some` where it breaks something; what to do, where it says so.
    pub breaking: Option<String>,
}

/// All commits of a log, in its order.
pub fn commits(log: &str) -> Vec<Commit> {
    let whole = |line: &str| line.strip_prefix("commit ").and_then(|rest| id(rest.split_whitespace().next()?));
    if !log.lines().any(|line| whole(line).is_some()) {
        return log.lines().filter_map(one_line).collect();
    }
    let mut all: Vec<(String, Vec<&str>)> = Vec::new();
    for line in log.lines() {
        match (whole(line), all.last_mut()) {
            (Some(id), _) => all.push((id, Vec::new())),
            // A message is indented; what stands before it is its author and date.
            (None, Some((_, message))) => message.extend(line.strip_prefix("    ").or_else(|| line.trim().is_empty().then_some(""))),
            (None, None) => {}
        }
    }
    all.into_iter().filter_map(|(id, message)| read(Some(id), &message)).collect()
}

/// Seven to 64 hex digits.
fn id(word: &str) -> Option<String> {
    let hex = word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    (hex && (7..=64).contains(&word.len())).then(|| word.to_owned())
}

/// A commit a line, perhaps with its id and in a list; a line without letters is none.
fn one_line(line: &str) -> Option<Commit> {
    let line = line.trim();
    let line = ["- ", "* ", "• "].iter().find_map(|bullet| line.strip_prefix(bullet)).unwrap_or(line).trim();
    match line.split_once(' ').and_then(|(first, rest)| Some((id(first)?, rest))) {
        Some((id, rest)) => read(Some(id), &[rest]),
        None => read(None, &[line]),
    }
}

fn read(id: Option<String>, message: &[&str]) -> Option<Commit> {
    let subject = message.iter().map(|line| line.trim()).find(|line| line.chars().any(char::is_alphanumeric))?;
    let footer = breaking_footer(message);
    let (kind, scope, summary, marked) = match conventional(subject) {
        Some((word, scope, marked, summary)) => (by_type(word), scope.map(str::to_owned), summary, marked),
        None => (by_word(subject), None, subject, false),
    };
    let (summary, breaking) = match summary.split_once(':') {
        Some((word, rest)) if is_breaking(word) => (rest.trim(), true),
        _ => (summary, marked),
    };
    let breaking = footer.or_else(|| breaking.then(String::new));
    Some(Commit { id, kind, scope, summary: summary.to_owned(), breaking })
}

fn is_breaking(word: &str) -> bool {
    matches!(word.trim().to_ascii_lowercase().as_str(), "breaking" | "breaking change" | "breaking-change")
}

/// `type(scope)!: summary`, where the type is one that is known.
fn conventional(subject: &str) -> Option<(&str, Option<&str>, bool, &str)> {
    let (head, summary) = subject.split_once(": ")?;
    let (head, marked) = head.strip_suffix('!').map_or((head, false), |head| (head, true));
    let (word, scope) = match head.split_once('(') {
        Some((word, scope)) => (word, Some(scope.strip_suffix(')')?)),
        None => (head, None),
    };
    let known = [
        "feat", "feature", "fix", "bugfix", "perf", "docs", "doc", "style", "refactor", "test", "tests", "build", "ci", "chore", "revert",
        "deps",
    ];
    known.iter().any(|one| one.eq_ignore_ascii_case(word)).then_some((word, scope, marked, summary.trim()))
}

fn by_type(word: &str) -> Kind {
    match word.to_ascii_lowercase().as_str() {
        "feat" | "feature" => Kind::Feature,
        "fix" | "bugfix" => Kind::Fix,
        _ => Kind::Other,
    }
}

fn by_word(subject: &str) -> Kind {
    let first: String = subject.chars().take_while(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    match first.as_str() {
        "add" | "adds" | "added" | "introduce" | "introduces" | "introduced" | "implement" | "implements" | "implemented" | "support"
        | "supports" | "new" | "allow" | "allows" => Kind::Feature,
        "fix" | "fixes" | "fixed" | "bugfix" | "hotfix" | "correct" | "corrects" | "corrected" | "resolve" | "resolves" | "resolved" => {
            Kind::Fix
        }
        "merge" => Kind::Merge,
        _ => Kind::Other,
    }
}

/// `BREAKING CHANGE: text`, up to the next empty line.
fn breaking_footer(message: &[&str]) -> Option<String> {
    let first = |line: &str| ["BREAKING CHANGE:", "BREAKING-CHANGE:"].iter().any(|head| line.trim_start().starts_with(head));
    let start = message.iter().position(|line| first(line))?;
    let lines = message[start..].iter().map(|line| line.trim()).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    lines.split_once(':').map(|(_, text)| text.trim().to_owned())
}
