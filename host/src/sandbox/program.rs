//! Any WASI command as one tool: words, standard input and files in; exit code, what it wrote, and the files it left out.
//!
//! The rule it keeps: a program has a folder of its own, at `/`, that is there for one call; beside it only what was granted.
//! What it writes there counts as through any write grant, and what comes back of it is bounded as any result is.
//!
//! Where the rule ends: what a program means by its exit code. Any is an answer, and only the program's end in a trap is an
//! error.

use crate::clean;
use crate::error::Kind;
use crate::files::{Folder as Held, ReadError};
use crate::sandbox::bindings::palisade::plugin::types;
use crate::sandbox::call::{Content, Definition, Failure, Prepared, Report, Run, engine_failure};
use crate::sandbox::entry::{Entry, Linked, checked};
use crate::sandbox::state::State;
use crate::sandbox::wasi::{Reach, Streams};
use crate::scratch::OfACall;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_policy::{Limit, Limits};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};

/// The name of its one tool.
pub(crate) const TOOL: &str = "run";
/// How much of what a program said last is quoted when it trapped, in bytes.
const LAST_WORDS: usize = 1024;
/// Deepest folder that is looked into for files.
const DEPTH: usize = 32;

/// Text, or bytes that are none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    #[serde(rename_all = "camelCase")]
    Encoded(Encoded),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

impl Text {
    /// What was said, of which a reader gets what is not control.
    fn said(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|e| Self::encoded(e.as_bytes()), Self::Plain)
    }

    /// A file, byte for byte: where text would be cleaned on its way, it is none.
    fn of_file(bytes: Vec<u8>) -> Self {
        match Self::said(bytes) {
            Self::Plain(text) if clean::model(&text) != text => Self::encoded(text.as_bytes()),
            other => other,
        }
    }

    fn encoded(bytes: &[u8]) -> Self {
        Self::Encoded(Encoded { base64: STANDARD.encode(bytes) })
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(text) => Some(text.into_bytes()),
            Self::Encoded(Encoded { base64 }) => STANDARD.decode(base64).ok(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Arguments {
    args: Vec<String>,
    stdin: Option<Text>,
    files: BTreeMap<String, Text>,
}

#[derive(Serialize)]
struct Answer {
    exit_code: i32,
    stdout: Text,
    stderr: Text,
    files: BTreeMap<String, Text>,
}

/// What every program is as a tool.
pub(super) fn definition() -> Definition {
    let bytes = |description: &str| {
        json!({"description": description, "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"base64": {"type": "string", "description": "Bytes that are no text, in base64."}},
             "required": ["base64"], "additionalProperties": false},
        ]})
    };
    let words = json!({"type": "array", "items": {"type": "string"}, "description": "The words after the program's name."});
    let files = |description: &str, each: &str| json!({"type": "object", "additionalProperties": bytes(each), "description": description});
    let input = json!({
        "type": "object",
        "properties": {
            "args": words,
            "stdin": bytes("What it reads from standard input."),
            "files": files("Files that are there when it starts, by their path below the working folder.", "What is in it."),
        },
        "additionalProperties": false,
    });
    let output = json!({
        "type": "object",
        "properties": {
            "exit_code": {"type": "integer", "description": "0 where it says that all went well."},
            "stdout": bytes("What it wrote to standard output, without control characters."),
            "stderr": bytes("What it wrote to standard error, without control characters."),
            "files": files("Files that it made or changed, by their path.", "What is in it."),
        },
        "required": ["exit_code", "stdout", "stderr", "files"],
        "additionalProperties": false,
    });
    Definition {
        name: TOOL.to_owned(),
        title: None,
        description:
            "Runs the program once, in an empty working folder of its own, and returns its exit code, its output and the files it \
            wrote there."
                .to_owned(),
        input_schema: input.to_string(),
        output_schema: Some(output.to_string()),
        hints: None,
    }
}

/// A program that is about to run.
struct Program {
    name: String,
    /// Where its folder is made.
    below: PathBuf,
    arguments: Arc<[u8]>,
    reach: Arc<Reach>,
    /// There once the call has its place: those that wait take no room on the disk.
    folder: Arc<OnceLock<Made>>,
    /// Taken as long as the folder is there, also where nobody waits for it any more.
    busy: Arc<Semaphore>,
    stdout: MemoryOutputPipe,
    stderr: MemoryOutputPipe,
}

impl Prepared {
    /// Runs a program once.
    pub(super) async fn run_program(
        self: &Arc<Self>,
        arguments: Arc<[u8]>,
        reach: &Arc<Reach>,
        limits: &Limits,
        time: Duration,
        run: Run,
    ) -> Report {
        let Some((name, below)) = reach.program.clone() else {
            return Report::failed(Failure::new(Kind::Internal, "there is no place for its working folder"));
        };
        let pipe = || MemoryOutputPipe::new(limits.size(Limit::Result));
        let (folder, busy) = (Arc::default(), Arc::new(Semaphore::new(1)));
        let (stdout, stderr, reach) = (pipe(), pipe(), reach.clone());
        let state = State::program(&reach, limits, run.clone(), self.stuck());
        let program = Program { name, below, arguments, reach, folder: Arc::clone(&folder), busy: busy.clone(), stdout, stderr };
        let mut report = self.enter(program, state, limits, time, run).await;
        // It holds its folder open.
        report.spent = None;
        // What it wrote may be much, and takes as long to remove. One that is still being made when the time is over is waited for.
        let _ = tokio::task::spawn_blocking(move || drop(folder)).await;
        let _ = busy.acquire().await;
        report
    }
}

/// The folder of a call; removed before another may take its place.
struct Made {
    folder: OfACall,
    _busy: OwnedSemaphorePermit,
}

struct Read {
    args: Vec<String>,
    stdin: Vec<u8>,
    given: BTreeMap<String, Vec<u8>>,
}

fn make(below: &Path, arguments: &[u8], limits: &Limits) -> Result<(OfACall, Read), Failure> {
    let read = read(arguments).map_err(|why| Failure::new(Kind::ToolFailed, why))?;
    let folders: HashSet<&Path> = read.given.keys().flat_map(|path| Path::new(path).ancestors().skip(1)).collect();
    let (count, most) = ((read.given.len() + folders.len()) as u64, limits.get(Limit::WrittenFiles));
    if count > most {
        return Err(Failure::new(Kind::ToolFailed, format!("it is given {count} files and folders; the limit `written_files` is {most}")));
    }
    let io = |why: String| Failure::new(Kind::Io, format!("its working folder: {why}"));
    let folder = OfACall::make(below).map_err(io)?;
    for (path, bytes) in &read.given {
        let place = folder.path().join(path);
        let made = place.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            // A path that is a folder of another one, or stands for the same file, is there already.
            let mut file = std::fs::File::options().write(true).create_new(true).open(&place)?;
            std::io::Write::write_all(&mut file, bytes)
        });
        made.map_err(|e| Failure::new(Kind::ToolFailed, format!("the file `{path}` cannot be made: {e}")))?;
    }
    Ok((folder, read))
}

fn read(arguments: &[u8]) -> Result<Read, String> {
    let Arguments { args, stdin, files } = serde_json::from_slice(arguments).map_err(|e| e.to_string())?;
    let not = |what: &str| format!("{what} is not base64");
    let stdin = stdin.map_or(Some(Vec::new()), Text::bytes).ok_or_else(|| not("`stdin`"))?;
    let mut given = BTreeMap::new();
    for (path, text) in files {
        if path.split('/').any(|part| part.is_empty() || matches!(part, "." | "..")) || path.contains('\0') {
            return Err(format!("`{path}` is not a path below the working folder: no leading `/`, no `.` and no `..`"));
        }
        if path.split('/').count() > DEPTH {
            return Err(format!("`{path}` lies deeper than {DEPTH} folders"));
        }
        let bytes = text.bytes().ok_or_else(|| not(&format!("the file `{path}`")))?;
        given.insert(path, bytes);
    }
    Ok(Read { args, stdin, given })
}

impl Entry for Program {
    type Output = Vec<Content>;
    const TIME: Limit = Limit::Time;

    async fn enter(&self, linked: &Linked, store: &mut Store<State>, limits: &Limits) -> wasmtime::Result<Result<Vec<Content>, Failure>> {
        let Linked::Program(linked) = linked else { return Ok(Err(Failure::new(Kind::Internal, "the component is no program"))) };
        let (below, arguments) = (self.below.clone(), self.arguments.clone());
        let (room, busy) = (limits.clone(), self.busy.clone().acquire_owned().await?);
        let make = move || make(&below, &arguments, &room).map(|(folder, read)| (Made { folder, _busy: busy }, read));
        let (made, Read { mut args, stdin, given }) = match tokio::task::spawn_blocking(make).await? {
            Ok(made) => made,
            Err(failure) => return Ok(Err(failure)),
        };
        let folder = self.folder.get_or_init(|| made).folder.path().to_owned();
        args.insert(0, self.name.clone());
        let (stdout, stderr) = (self.stdout.clone(), self.stderr.clone());
        let streams = Streams { args, stdin: MemoryInputPipe::new(stdin), stdout, stderr };
        store.data_mut().start(self.reach.program_context(&folder, streams)?);
        let ended = match linked.instantiate_async(&mut *store).await {
            Ok(program) => program.wasi_cli_run().call_run(&mut *store).await,
            Err(error) => Err(error),
        };
        let exit_code = match ended {
            Ok(Ok(())) => 0,
            Ok(Err(())) => 1,
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(code)) => *code,
                None => return Ok(Err(self.last_words(engine_failure(store.data(), &error, limits)))),
            },
        };
        let most = limits.size(Limit::Result);
        let output = [&self.stdout, &self.stderr].map(MemoryOutputPipe::contents);
        if output.iter().any(|bytes| bytes.len() >= most) {
            let what = format!("it wrote more than {} to its output", Limit::Result.show(limits.get(Limit::Result)));
            return Ok(Err(Failure::new(Kind::LimitOutput, what)));
        }
        let room = most.saturating_sub(output.iter().map(bytes::Bytes::len).sum());
        let left = tokio::task::spawn_blocking(move || left(&folder, &given, room)).await?;
        let [stdout, stderr] = output.map(|bytes| Text::said(bytes.into()));
        Ok(left.and_then(|files| {
            let answer = serde_json::to_string(&Answer { exit_code, stdout, stderr, files });
            let answer = answer.map_err(|e| Failure::new(Kind::Internal, e.to_string()))?;
            checked(vec![types::Content::Json(answer)], limits)
        }))
    }
}

impl Program {
    /// A program that traps has often said why.
    fn last_words(&self, failure: Failure) -> Failure {
        let said = self.stderr.contents();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(LAST_WORDS)..]).trim().to_owned();
        if failure.kind != Kind::Trap || said.is_empty() {
            return failure;
        }
        Failure { message: format!("{}; it said: {said}", failure.message), ..failure }
    }
}

/// The files of a working folder that are not what was given. What is no regular file is left out.
fn left(folder: &Path, given: &BTreeMap<String, Vec<u8>>, room: usize) -> Result<BTreeMap<String, Text>, Failure> {
    let mut files = Files { given, room, found: BTreeMap::new() };
    let held = Held::open(folder).map_err(|e| Failure::new(Kind::Io, format!("its working folder: {e}")))?;
    files.below(&held, "", 0)?;
    Ok(files.found)
}

struct Files<'g> {
    given: &'g BTreeMap<String, Vec<u8>>,
    room: usize,
    found: BTreeMap<String, Text>,
}

impl Files<'_> {
    fn below(&mut self, folder: &Held, path: &str, depth: usize) -> Result<(), Failure> {
        let too_much = || Failure::new(Kind::LimitOutput, "the files it left are more than the limit `result` has room for");
        let io = |e: ReadError| Failure::new(Kind::Io, format!("its working folder: {e}"));
        for name in folder.names().map_err(io)? {
            // Under another name it would be another file.
            if clean::model(&name) != name {
                continue;
            }
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if let Ok(inner) = folder.folder(&name) {
                if depth < DEPTH {
                    self.below(&inner, &path, depth + 1)?;
                }
                continue;
            }
            let known = self.given.get(&path);
            let bytes = match folder.read(&name, self.room.max(known.map_or(0, Vec::len)) as u64) {
                Ok(bytes) => bytes,
                Err(ReadError::TooLarge(_)) => return Err(too_much()),
                // Neither a file nor a folder.
                Err(ReadError::Link | ReadError::Special) => continue,
                Err(error) => return Err(io(error)),
            };
            if known == Some(&bytes) {
                continue;
            }
            // A name costs too, or empty files would be free.
            self.room = self.room.checked_sub(bytes.len() + path.len()).ok_or_else(too_much)?;
            self.found.insert(path, Text::of_file(bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Read, String> {
        super::read(text.as_bytes())
    }

    #[test]
    fn a_file_is_given_below_the_working_folder_and_nowhere_else() {
        let Read { args, stdin, given } = read(r#"{"args": ["-v"], "stdin": {"base64": "/w=="}, "files": {"a/b.txt": "x"}}"#).unwrap();
        assert_eq!((args, stdin, given), (vec!["-v".to_owned()], vec![255], BTreeMap::from([("a/b.txt".to_owned(), b"x".to_vec())])));
        for path in ["/a", "../a", "a/../b", "a//b", "", ".", "a/", "./a"] {
            let refused = read(&json!({"files": {path: ""}}).to_string()).err().unwrap();
            assert_eq!(refused, format!("`{path}` is not a path below the working folder: no leading `/`, no `.` and no `..`"));
        }
        assert_eq!(read(r#"{"stdin": {"base64": "?"}}"#).err().unwrap(), "`stdin` is not base64");
        assert_eq!(read(r#"{"files": {"a": {"base64": "?"}}}"#).err().unwrap(), "the file `a` is not base64");
    }

    #[test]
    fn what_comes_back_is_what_changed_within_the_room_there_is_and_no_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("in")).unwrap();
        std::fs::write(root.join("in/same"), "1").unwrap();
        std::fs::write(root.join("in/changed"), "22").unwrap();
        std::fs::write(root.join("new"), [255]).unwrap();
        std::fs::write(root.join("dos"), "a\r\n").unwrap();
        std::fs::write(root.join("odd\x1bname"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("folder")).unwrap();
        let given = BTreeMap::from([("in/same".to_owned(), b"1".to_vec()), ("in/changed".to_owned(), b"2".to_vec())]);
        let found = left(&root, &given, 100).unwrap();
        let text = |text: &str| Text::Plain(text.to_owned());
        let whole = BTreeMap::from([
            ("dos".to_owned(), Text::encoded(b"a\r\n")),
            ("in/changed".to_owned(), text("22")),
            ("new".to_owned(), Text::encoded(&[255])),
        ]);
        assert_eq!(found, whole);
        // Three bytes with a path of three, two with one of ten, and one with one of three.
        assert!(left(&root, &given, 22).is_ok());
        assert_eq!(left(&root, &given, 21).unwrap_err().kind, Kind::LimitOutput);
    }
}
