//! What a component needs that is not linked, said with what would help.
//!
//! Never here: what is linked; the engine says what it misses.

use wasmtime::component::Component;

/// Imports that are named beside the one that the engine names first.
const MORE: usize = 4;

/// The engine's refusal to link, and the remedy where there is one.
pub(super) fn unlinked(component: &Component, error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    let component_type = component.component_type();
    let imports: Vec<&str> = component_type.imports(component.engine()).map(|(name, _)| name).collect();
    let Some(missing) = imports.iter().find(|name| text.contains(&format!("`{name}`"))) else {
        return format!("the component does not link: {text}");
    };
    // Of the others only those are named that nobody could take for linked.
    let others: Vec<&str> = imports.iter().filter(|name| *name != missing && help(name).is_some()).copied().take(MORE).collect();
    let others = if others.is_empty() { String::new() } else { format!(", as it does {}", others.join(", ")) };
    let wrong = match help(missing) {
        Some(help) => help,
        // It is linked, so what differs is its type.
        None => text.as_str(),
    };
    format!("the component imports {missing}{others}: {wrong}")
}

/// What to do about an import that is not linked.
fn help(import: &str) -> Option<&'static str> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let (package, _) = interface.split_once('/').unwrap_or((interface, ""));
    Some(match package {
        "palisade:plugin" if version.starts_with("0.1.") => return None,
        "palisade:plugin" => "that is of another version of Palisade, which has palisade:plugin@0.1; build it with the SDK of this one",
        package if package.starts_with("wasi:") && version.starts_with("0.3") => {
            "WASI 0.3 is not linked, as the engine gives no security releases for it yet; build it for WASI 0.2, in Rust for wasm32-wasip2"
        }
        "wasi:io" | "wasi:clocks" | "wasi:random" | "wasi:cli" | "wasi:filesystem" | "wasi:sockets" | "wasi:http"
            if version.starts_with("0.2.") =>
        {
            return None;
        }
        "wasi:keyvalue" => "it is not linked; keep things through palisade:plugin/store, which a manifest asks for with `store = true`",
        package if package.starts_with("wasi:") => {
            "it is not linked; of WASI 0.2 there are io, clocks, random, cli, filesystem, sockets (which refuse) and http"
        }
        _ => "nothing here provides it; a component may import WASI 0.2 and palisade:plugin, and is composed beforehand with what has more",
    })
}

#[cfg(test)]
mod tests {
    use super::help;

    #[test]
    fn what_is_linked_needs_no_help_and_all_else_has_its_own() {
        for linked in ["wasi:io/streams@0.2.0", "wasi:http/types@0.2.12", "palisade:plugin/store@0.1.0", "wasi:cli/environment@0.2.6"] {
            assert_eq!(help(linked), None, "{linked}");
        }
        for (import, part) in [
            ("wasi:cli/environment@0.3.0", "WASI 0.3"),
            ("wasi:http/handler@0.3.0-rc-2025-08-15", "WASI 0.3"),
            ("wasi:keyvalue/store@0.2.0-draft", "store = true"),
            ("wasi:nn/graph@0.2.0-rc", "of WASI 0.2 there are"),
            ("wasi:logging/logging", "of WASI 0.2 there are"),
            ("palisade:plugin/host@0.2.0", "another version"),
            ("docs:adder/add@0.1.0", "composed"),
            ("env", "composed"),
        ] {
            assert!(help(import).is_some_and(|help| help.contains(part)), "{import}: {:?}", help(import));
        }
    }
}
