//! A deny list from iterators, an untrusted and a trusted host, a session, and a call.
//! Give it the compiler and a folder of plugins: cargo run -p palisade --example library -- target/debug/palisade target/plugins

use palisade::config::{Home, Options, Settings};
use palisade::policy::{DenyList, Verdict};
use palisade::sandbox::Run;
use palisade::session::{Prompt, Session};
use palisade::{Host, LoadOptions, ToolCall};
use std::{path::PathBuf, sync::Arc};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [compiler, plugins] = [1, 2].map(|n| PathBuf::from(std::env::args().nth(n).expect("a compiler and a folder of plugins")));
    let load = LoadOptions { compiler: Some(&compiler), ..LoadOptions::default() };
    let home = tempfile::tempdir()?;
    let home = Home::at(&home.path().canonicalize()?)?;
    let deny = DenyList::from_iters(["SECRETS/Scan", "json-query__QUERY"], ["Search/"])?;
    let options = Options { deny, plugin_dirs: vec![plugins], ..Options::default() };

    let untrusted = Host::load(Settings::resolve(&options, home.clone())?, load).await?;
    let trusted = Options { profile: Some("trusted".into()), ..options };
    let trusted = Host::load(Settings::resolve(&trusted, home)?, load).await?;
    for host in [&untrusted, &trusted] {
        let call = ToolCall::new("text-stats/count", r#"{"text": "one two"}"#);
        let record = host.call(call, Verdict::pass(), Run::default(), |_| {}).await?;
        println!("{}: {}", host.settings().profile.name, record.denial.map_or_else(|| record.content.len().to_string(), |d| d.rule));
    }

    let mut session = Session::new(Arc::new(trusted));
    for text in ["count the words of \"one two three\"", "search for \"needle\""] {
        session.turn(Prompt { text, direct_calls: false }, Run::default(), &|_| {}).await?;
    }
    let (result, _) = session.finish();
    result.turns.iter().for_each(|turn| println!("{}: {}", turn.prompt, turn.output));
    result.permission_denials.iter().for_each(|denial| println!("denied: {} by {}", denial.tool, denial.rule));
    Ok(())
}
