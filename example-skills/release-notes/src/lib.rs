//! Groups commits into release notes. It asks for nothing: the log is its argument.

mod commits;

use commits::{Commit, Kind, commits};
use palisade_sdk::{Json, Result, arguments, output, tool};

/// What is grouped.
#[arguments]
pub struct Group {
    /// The output of `git log` in any of its formats, or a list of commits, one a line.
    pub log: String,
}

/// The commits, grouped.
#[output]
#[derive(Debug, PartialEq, Eq)]
pub struct Notes {
    /// Changes after which users have to do something.
    pub breaking: Vec<Change>,
    /// What is new.
    pub features: Vec<Change>,
    /// What was mended.
    pub fixes: Vec<Change>,
    /// All the rest.
    pub others: Vec<Change>,
    /// Commits that only merge, and are in none of the groups.
    pub merges: usize,
    /// The notes as Markdown.
    pub markdown: String,
}

/// One change.
#[output]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changed, in a line.
    pub summary: String,
    /// The part of the software, where the commit names one.
    pub scope: Option<String>,
    /// The commit, as far as the log has it.
    pub commit: Option<String>,
    /// What users have to do, where the commit says it.
    pub breaking: Option<String>,
}

/// Groups the commits of a git log, or of a list, into breaking changes, features, fixes and others. Conventional commits are
/// read by their type; of others the first word tells.
#[tool(title = "Group commits", read_only, idempotent)]
pub fn group(args: Group) -> Result<Json<Notes>> {
    let commits = commits(&args.log);
    if commits.is_empty() {
        return Err("there is no commit in this log; give the output of git log, or one commit a line".into());
    }
    Ok(Json(notes(commits)))
}

fn notes(commits: Vec<Commit>) -> Notes {
    let mut notes = Notes { breaking: vec![], features: vec![], fixes: vec![], others: vec![], merges: 0, markdown: String::new() };
    for Commit { id, kind, scope, summary, breaking } in commits {
        let group = match (kind, &breaking) {
            (Kind::Merge, _) => {
                notes.merges += 1;
                continue;
            }
            (_, Some(_)) => &mut notes.breaking,
            (Kind::Feature, None) => &mut notes.features,
            (Kind::Fix, None) => &mut notes.fixes,
            (Kind::Other, None) => &mut notes.others,
        };
        let breaking = breaking.filter(|what| !what.is_empty());
        group.push(Change { summary, scope, commit: id, breaking });
    }
    let groups =
        [("Breaking changes", &notes.breaking), ("Features", &notes.features), ("Fixes", &notes.fixes), ("Other changes", &notes.others)];
    let shown = groups.into_iter().filter(|(_, changes)| !changes.is_empty());
    notes.markdown = shown.map(|(title, changes)| section(title, changes)).collect::<Vec<_>>().join("\n");
    notes
}

fn section(title: &str, changes: &[Change]) -> String {
    let line = |change: &Change| {
        let scope = change.scope.as_ref().map(|scope| format!("**{scope}:** ")).unwrap_or_default();
        let commit = change.commit.as_ref().map(|commit| format!(" ({})", &commit[..commit.len().min(8)])).unwrap_or_default();
        let breaking = change.breaking.as_ref().map(|what| format!("\n  {what}")).unwrap_or_default();
        format!("- {scope}{}{commit}{breaking}\n", change.summary)
    };
    format!("## {title}\n\n{}", changes.iter().map(line).collect::<String>())
}

palisade_sdk::export!(group);

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped(log: &str) -> Notes {
        group(Group { log: log.to_owned() }).unwrap().0
    }

    fn summaries(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.summary.as_str()).collect()
    }

    #[test]
    fn conventional_commits_are_grouped_by_type_scope_and_breaking_change() {
        let notes = grouped(
            "1111111 feat(cli): a new flag\n2222222 fix: a crash\n3333333 feat(api)!: another shape\n4444444 chore: tidy\n5555555 Merge branch 'x'\n",
        );
        assert_eq!(summaries(&notes.features), ["a new flag"]);
        assert_eq!(summaries(&notes.fixes), ["a crash"]);
        assert_eq!(summaries(&notes.breaking), ["another shape"]);
        assert_eq!(summaries(&notes.others), ["tidy"]);
        assert_eq!(notes.merges, 1);
        let wanted = "## Breaking changes\n\n- **api:** another shape (3333333)\n\n## Features\n\n- **cli:** a new flag (1111111)\n\n\
                      ## Fixes\n\n- a crash (2222222)\n\n## Other changes\n\n- tidy (4444444)\n";
        assert_eq!(notes.markdown, wanted);
    }

    #[test]
    fn a_whole_git_log_is_read_with_its_footers() {
        let notes = grouped(
            "commit 0123456789abcdef0123456789abcdef01234567 (HEAD -> main)\nAuthor: A <a@example.com>\nDate:   Wed Nov 25 18:00:00 2026\n\n    \
             refactor: other names\n\n    Body of it, with fix: inside.\n\n    BREAKING CHANGE: rename `a` to `b`\n    in your config\n\n\
             commit 89abcdef0123456789abcdef0123456789abcdef\nMerge: 1 2\nAuthor: B <b@example.com>\nDate:   Wed\n\n    Merge pull request #1\n\n\
             commit 76543210fedcba9876543210fedcba9876543210\nAuthor: A <a@example.com>\nDate:   Tue\n\n    Fixed the reader\n",
        );
        let breaking = Some("rename `a` to `b` in your config".to_owned());
        let commit = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
        assert_eq!(notes.breaking, [Change { summary: "other names".to_owned(), scope: None, commit, breaking }]);
        assert_eq!((summaries(&notes.fixes), notes.merges), (vec!["Fixed the reader"], 1));
    }

    #[test]
    fn plain_commits_are_told_by_their_first_word() {
        let notes = grouped("- Add a thing\n* fixes #12\nReword the manual\n\nSupport more\nBreaking: drop the old format\nfeat(: odd\n");
        assert_eq!(summaries(&notes.features), ["Add a thing", "Support more"]);
        assert_eq!(summaries(&notes.fixes), ["fixes #12"]);
        assert_eq!(summaries(&notes.others), ["Reword the manual", "feat(: odd"]);
        assert_eq!(summaries(&notes.breaking), ["drop the old format"]);
        assert!(group(Group { log: " \n\n".to_owned() }).is_err());
    }
}
