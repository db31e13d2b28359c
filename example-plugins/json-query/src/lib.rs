//! Runs a jq filter over a JSON text, with jaq. The filter gets its input and nothing else.

mod value;

use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Exn, Vars, compile, data};
use jaq_json::Val;
use palisade_sdk::serde_json::{self, Value};
use palisade_sdk::{Json, Result, arguments, cancelled, output, tool};
use value::{Budget, Stop};

/// Most results of a call.
const RESULTS: usize = 10_000;
/// Most bytes of results: three quarters of the largest result of a call.
const BYTES: usize = 3 * 1024 * 1024;
/// Characters of a text that an error quotes.
const QUOTED: usize = 200;
/// What reads the environment, or the files of a time zone. In the sandbox both are empty; outside it they are not.
const WITHHELD: [&str; 3] = ["env", "localtime", "strflocaltime"];

/// What is asked of which document.
#[arguments]
#[schemars(extend("examples" = [{"filter": ".[] | select(.price > 10) | .name", "json": "[{\"name\": \"a\", \"price\": 12}]"}]))]
pub struct Query {
    /// A jq filter, for instance `.items[] | select(.price > 10) | .name`.
    pub filter: String,
    /// The JSON text it is run over: one document.
    pub json: String,
}

/// What the filter gave.
#[output]
#[derive(Debug)]
pub struct Results {
    /// The results, in order. Numbers beyond 64 bits lose digits, and those that JSON does not have are null.
    pub results: Vec<Value>,
    /// Whether the filter gives more: at most 10 000 results and 3 MiB are returned.
    pub truncated: bool,
}

/// Runs a jq filter over a JSON text and returns all its results. It has no environment, no files, no modules and no
/// further inputs.
#[tool(title = "Query JSON", read_only, idempotent)]
pub fn query(args: Query) -> Result<Json<Results>> {
    // Not jaq's own reader: it takes more than JSON, and nesting of any depth.
    let input: Val = serde_json::from_str(&args.json).map_err(|e| format!("`json` is not one JSON document: {e}"))?;
    let filter = compiled(&args.filter)?;
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let mut out = Results { results: Vec::new(), truncated: false };
    let mut budget = Budget::new(BYTES);
    for given in filter.id.run((context, input)) {
        let given = match given.map_err(stopped) {
            Ok(given) => given,
            Err(None) => break,
            Err(Some(failed)) => return Err(failed.into()),
        };
        if out.results.len() == RESULTS {
            out.truncated = true;
            break;
        }
        if cancelled() {
            return Err("the query was cancelled".into());
        }
        match budget.value(&given) {
            Ok(value) => out.results.push(value),
            Err(Stop::Full) => {
                out.truncated = true;
                break;
            }
            Err(Stop::NotJson(why)) => return Err(format!("result {} is not JSON: {why}", out.results.len() + 1).into()),
        }
    }
    Ok(Json(out))
}

type Filter = jaq_core::Filter<data::JustLut<Val>>;

fn compiled(filter: &str) -> Result<Filter> {
    let arena = Arena::default();
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let modules = Loader::new(definitions).load(&arena, File { code: filter, path: () }).map_err(|errors| unread(&errors))?;
    // A module imported as data passes the loader, and would be looked up in a list that is empty.
    load::import(&modules, |_| Err("importing is not possible here".to_owned())).map_err(|errors| unread(&errors))?;
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs()).filter(|(name, ..)| !WITHHELD.contains(name));
    Ok(Compiler::default().with_funs(functions).compile(modules).map_err(|errors| undefined(&errors))?)
}

/// The first thing at which reading the filter failed; the others often follow from it.
fn unread(errors: &load::Errors<&str, ()>) -> String {
    let expected = |what: &str, found: &str| match quoted(found) {
        found if found.is_empty() => format!("`filter` is not a jq filter: {what} is expected at its end"),
        found => format!("`filter` is not a jq filter: {what} is expected at `{found}`"),
    };
    match errors.first().map(|(_, error)| error) {
        Some(load::Error::Io(io)) if let Some((path, why)) = io.first() => format!("`filter` imports `{}`: {why}", quoted(path)),
        Some(load::Error::Lex(lex)) if let Some((what, found)) = lex.first() => expected(what.as_str(), found),
        Some(load::Error::Parse(parse)) if let Some((what, found)) = parse.first() => expected(what.as_str(), found),
        _ => "`filter` is not a jq filter".to_owned(),
    }
}

fn undefined(errors: &compile::Errors<&str, ()>) -> String {
    match errors.first().and_then(|(_, errors)| errors.first()) {
        Some((name, compile::Undefined::Filter(arguments))) => {
            format!("`filter` does not compile: there is no filter `{}` of {arguments} arguments here", quoted(name))
        }
        Some((name, kind)) => format!("`filter` does not compile: there is no {} `{}`", kind.as_str(), quoted(name)),
        None => "`filter` does not compile".to_owned(),
    }
}

/// Why the filter ended before its last result; nothing where it asked for that with `halt`.
fn stopped(exception: Exn<'_, Val>) -> Option<String> {
    match exception.get_err().map_err(Exn::get_halt) {
        Ok(error) => {
            let why = match error.into_val() {
                Val::TStr(text) => String::from_utf8_lossy(&text).into_owned(),
                other => other.to_string(),
            };
            Some(format!("the filter failed: {}", quoted(&why)))
        }
        Err(Ok(0)) => None,
        Err(Ok(code)) => Some(format!("the filter halted with code {code}")),
        Err(Err(_)) => Some("the filter broke out of a label that is not around it".to_owned()),
    }
}

fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

palisade_sdk::export!(query);

#[cfg(test)]
mod tests;
