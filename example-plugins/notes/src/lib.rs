//! Keeps notes in its own store, and reaches nothing else.

use palisade_sdk::{Json, Result, arguments, output, store, tool};

/// Longest title, in bytes: what the store takes as a key.
const TITLE: usize = 512;
/// Most titles that are listed.
const LISTED: usize = 10_000;

/// A note to keep.
#[arguments]
pub struct Add {
    /// Its title, which no other note has; at most 512 bytes.
    pub title: String,
    /// What it says.
    pub text: String,
}

/// No arguments.
#[arguments]
pub struct All {}

/// Which note.
#[arguments]
pub struct Read {
    /// Its title, as it was added.
    pub title: String,
}

/// The notes there are.
#[output]
pub struct Titles {
    /// Their titles, in order.
    pub titles: Vec<String>,
    /// Whether there are more than the 10 000 that are returned.
    pub truncated: bool,
}

/// Keeps a note under a title that no other note has.
#[tool(title = "Keep a note")]
fn add(args: Add) -> Result<String> {
    if args.title.is_empty() || args.title.len() > TITLE {
        return Err(format!("`title` has {} bytes; it is 1 to {TITLE} bytes long", args.title.len()).into());
    }
    if !store::swap(&args.title, None, Some(args.text.as_bytes()))? {
        return Err(format!("there is a note `{}` already; choose another title", args.title).into());
    }
    Ok(format!("kept `{}`", args.title))
}

/// Lists the titles of all notes.
#[tool(title = "List notes", read_only, idempotent)]
fn list(_: All) -> Result<Json<Titles>> {
    let mut titles: Vec<String> = Vec::new();
    loop {
        let page = store::keys("", titles.last().map(String::as_str), 1000)?;
        if page.is_empty() {
            return Ok(Json(Titles { titles, truncated: false }));
        }
        titles.extend(page);
        if titles.len() > LISTED {
            titles.truncate(LISTED);
            return Ok(Json(Titles { titles, truncated: true }));
        }
    }
}

/// Reads a note.
#[tool(title = "Read a note", read_only, idempotent)]
fn read(args: Read) -> Result<String> {
    let absent = || format!("there is no note `{}`; `list` names those there are", args.title);
    let text = store::get(&args.title)?.ok_or_else(absent)?;
    Ok(String::from_utf8(text)?)
}

palisade_sdk::export!(add, list, read);

#[cfg(test)]
mod tests {
    use super::*;

    fn note(title: &str, text: &str) -> Result<String> {
        add(Add { title: title.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn a_note_is_kept_once_and_read_as_it_was_added() {
        note("shopping", "milk").unwrap();
        note("a/b \"c\"", "ä").unwrap();
        assert!(note("shopping", "bread").unwrap_err().message().contains("already"));
        assert_eq!(read(Read { title: "shopping".to_owned() }).unwrap(), "milk");
        let Json(all) = list(All {}).unwrap();
        assert_eq!((all.titles, all.truncated), (vec!["a/b \"c\"".to_owned(), "shopping".to_owned()], false));
    }

    #[test]
    fn what_cannot_be_kept_or_found_is_an_error_that_names_it() {
        for title in [String::new(), "x".repeat(513)] {
            assert!(note(&title, "").unwrap_err().message().contains("1 to 512 bytes"));
        }
        assert!(read(Read { title: "gone".to_owned() }).unwrap_err().message().contains("no note `gone`"));
    }

    #[test]
    fn a_long_list_is_whole_and_a_longer_one_says_that_it_is_cut() {
        (0..2500).for_each(|i| drop(note(&format!("{i:05}"), "").unwrap()));
        let Json(all) = list(All {}).unwrap();
        assert!(all.titles.len() == 2500 && all.titles.is_sorted() && !all.truncated);
        (2500..=10_000).for_each(|i| drop(note(&format!("{i:05}"), "").unwrap()));
        let Json(all) = list(All {}).unwrap();
        assert!(all.titles.len() == 10_000 && all.truncated);
    }
}
