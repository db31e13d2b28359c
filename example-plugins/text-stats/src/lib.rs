//! Counts the lines, words, characters and bytes of a text or a file.

use palisade_sdk::{Json, Result, arguments, guest_path, output, tool};

/// Largest file that is counted: four times less than the memory a call has.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// What is counted.
#[arguments]
pub struct Count {
    /// The text to count.
    #[schemars(extend("x-palisade-prompt" = true))]
    pub text: String,
}

/// Which file is counted.
#[arguments]
pub struct CountFile {
    /// The file: relative to the workspace, or an absolute guest path.
    pub path: String,
}

/// The counts.
#[output]
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    /// Lines, as `str::lines` sees them.
    pub lines: usize,
    /// Words, separated by white space.
    pub words: usize,
    /// Unicode scalar values.
    pub characters: usize,
    /// Bytes of UTF-8.
    pub bytes: usize,
}

fn counts(text: &str) -> Counts {
    Counts { lines: text.lines().count(), words: text.split_whitespace().count(), characters: text.chars().count(), bytes: text.len() }
}

/// Counts the lines, words, characters and bytes of a text.
#[tool(title = "Count text", read_only, idempotent)]
fn count(args: Count) -> Result<Json<Counts>> {
    Ok(Json(counts(&args.text)))
}

/// Counts the lines, words, characters and bytes of a file in the workspace.
#[tool(title = "Count a file", read_only, idempotent)]
fn count_file(args: CountFile) -> Result<Json<Counts>> {
    let path = guest_path(&args.path);
    let size = std::fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?.len();
    if size > FILE_MAX {
        return Err(format!("{} has {size} bytes; at most {FILE_MAX} are counted", path.display()).into());
    }
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))?;
    Ok(Json(counts(&text)))
}

palisade_sdk::export!(count, count_file);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_unit_is_counted_by_its_own_rule() {
        let got = count(Count { text: "héllo wörld\nzwei".to_owned() }).unwrap().0;
        assert_eq!(got, Counts { lines: 2, words: 3, characters: 16, bytes: 18 });
        assert_eq!(counts(""), Counts { lines: 0, words: 0, characters: 0, bytes: 0 });
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let failure = count_file(CountFile { path: "/no/such".to_owned() }).unwrap_err();
        assert!(failure.message().starts_with("/no/such: "), "{}", failure.message());
    }
}
