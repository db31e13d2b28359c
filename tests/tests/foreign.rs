//! Components of any world: every function is a tool by its WIT types, and nothing is lost on the way.

use palisade_tests::{Answer, World, guest};
use serde_json::{Value, json};

fn world() -> (World, String) {
    let world = World::new();
    let path = world.write("components/foreign.wasm", guest("foreign")).display().to_string();
    (world, path)
}

fn palisade(world: &World, path: &str, args: &[&str]) -> Answer {
    world.palisade(&[&["--profile", "trusted", "--format", "json", "--plugin", path], args].concat())
}

fn call(world: &World, path: &str, tool: &str, arguments: &Value) -> Answer {
    palisade(world, path, &["call", &format!("foreign/{tool}"), &arguments.to_string()])
}

/// One value of every type.
fn everything() -> Value {
    json!({
        "yes": true,
        "a-s8": -128, "a-u8": 255, "a-s16": -32768, "a-u16": 65535, "a-s32": -2_147_483_648_i64, "a-u32": 4_294_967_295_u32,
        "a-s64": i64::MIN, "a-u64": u64::MAX,
        "half": 0.5, "whole": -1.5e300,
        "sign": "𝄞", "text": "a\nb",
        "raw": "AP8=", "many": [1, -1], "pair": ["x", 18_000_000_000_000_000_000_u64],
        "unit": "milli-litre", "perms": ["read", "run-it"], "shape": {"corners": [[1, -1], [2, -2]]},
        "maybe": 7, "maybe-maybe": {"some": null},
        "plain": {"ok": null}, "full": {"error": "no"},
        "names": {"b": 1, "a": 2}, "numbers": [[7, "seven"], [9, "nine"]],
    })
}

#[test]
fn every_type_of_value_goes_in_and_comes_out_as_it_was() {
    let (world, path) = world();
    let echo = |it: &Value| call(&world, &path, "shapes-echo", &json!({"it": it})).expect(0).json()["content"][0]["value"].clone();
    assert_eq!(echo(&everything()), everything());
    let mut other = everything();
    for (key, value) in [
        ("half", json!("NaN")),
        ("whole", json!("-Infinity")),
        ("shape", json!("none")),
        ("perms", json!([])),
        ("raw", json!("")),
        ("maybe-maybe", json!({"some": true})),
        ("plain", json!({"error": null})),
        ("full", json!({"ok": 0})),
        ("names", json!({})),
        ("numbers", json!([])),
    ] {
        other[key] = value;
    }
    // What may be left out comes back left out.
    other.as_object_mut().expect("an object").shift_remove("maybe");
    assert_eq!(echo(&other), other);
    other["maybe"] = Value::Null;
    other["maybe-maybe"] = Value::Null;
    let back = echo(&other);
    assert_eq!((back.get("maybe"), back.get("maybe-maybe")), (None, None));
}

#[test]
fn what_is_no_value_of_its_type_is_denied_before_the_component_is_entered() {
    let (world, path) = world();
    for (key, wrong) in [
        ("a-u8", json!(256)),
        ("a-s8", json!(-129)),
        ("a-u64", json!(-1)),
        ("a-s64", json!(u64::MAX)),
        ("half", json!(3.5e38)),
        ("whole", json!("Inf")),
        ("sign", json!("ab")),
        ("raw", json!("QR==")),
        ("pair", json!(["x"])),
        ("unit", json!("litre")),
        ("perms", json!(["read", "read"])),
        ("shape", json!({"circle": 1, "none": null})),
        ("maybe-maybe", json!(true)),
        ("plain", json!({"ok": 1})),
        ("names", json!({"a": "1"})),
        ("numbers", json!([[70000, "x"]])),
        ("more", json!(1)),
    ] {
        let mut it = everything();
        it[key] = wrong;
        let denied = call(&world, &path, "shapes-echo", &json!({"it": it})).expect(3).json();
        assert_eq!(denied["denial"]["rule"], "arguments", "{key}");
    }
}

#[test]
fn a_result_is_its_value_or_the_error_of_the_tool() {
    let (world, path) = world();
    let content = |tool: &str, arguments: Value| call(&world, &path, tool, &arguments).expect(0).json()["content"].clone();
    let error = |tool: &str, arguments: Value| {
        let record = call(&world, &path, tool, &arguments).expect(4).json();
        assert_eq!(record["error"]["kind"], "tool-failed");
        record["error"]["message"].as_str().expect("a message").to_owned()
    };
    assert_eq!(content("greet", json!({"name": "Ada"})), json!([{"type": "text", "text": "Hello, Ada!"}]));
    assert_eq!(content("shout-at", json!({"name": "Ada"})), json!([{"type": "text", "text": "ADA"}]));
    assert_eq!(content("shapes-divide", json!({"a": 7, "b": 2})), json!([{"type": "json", "value": {"result": 3}}]));
    assert_eq!(error("shapes-divide", json!({"a": 7, "b": 0})), "nothing is divided by that");
    assert_eq!(error("shapes-refuse", json!({"unit": "piece"})), "\"none\"");
    assert_eq!(error("shapes-refuse", json!({"unit": "gram"})), r#"{"corners":[[1,-1]]}"#);
    assert_eq!(content("shapes-nothing", json!({})), json!([]));
    assert_eq!(content("shapes-optional", json!({})), json!([{"type": "text", "text": "nothing"}]));
    assert_eq!(
        content("shapes-bytes", json!({"count": 2})),
        json!([{"type": "blob", "mime": "application/octet-stream", "base64": "Bwc="}])
    );
    let trapped = call(&world, &path, "shapes-trap", &json!({})).expect(4).json();
    assert_eq!(trapped["error"]["kind"], "trap");
}

#[test]
fn a_function_has_the_schema_of_its_types_and_one_that_passes_a_resource_is_named_as_none() {
    let (world, path) = world();
    let tools = palisade(&world, &path, &["tools"]).expect(0).json();
    let ids: Vec<&str> = tools["tools"].as_array().expect("tools").iter().filter_map(|tool| tool["id"].as_str()).collect();
    let shapes = ["bytes", "divide", "echo", "flags", "nothing", "optional", "refuse", "spin", "trap", "words"]
        .map(|name| format!("foreign/shapes-{name}"));
    let all: Vec<String> = [vec!["foreign/greet".to_owned()], shapes.to_vec(), vec!["foreign/shout-at".to_owned()]].concat();
    assert_eq!(ids, all);
    let tool = |id: &str| tools["tools"].as_array().expect("tools").iter().find(|tool| tool["id"] == id).expect("it is there").clone();
    let divide = tool("foreign/shapes-divide");
    assert_eq!(divide["description"], "`divide: func(a: s64, b: s64) -> result<s64, string>`, a function of `test:foreign/shapes@1.2.0`.");
    let s64 = json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX, "description": "A value of the WIT type `s64`."});
    assert_eq!(
        divide["input_schema"],
        json!({"type": "object", "properties": {"a": s64, "b": s64}, "required": ["a", "b"], "additionalProperties": false})
    );
    assert_eq!(divide["output_schema"]["properties"]["result"]["type"], "integer");
    let status = palisade(&world, &path, &["status"]).expect(0).json();
    let reasons: Vec<&str> = status["quarantined"].as_array().expect("a list").iter().filter_map(|one| one["reason"].as_str()).collect();
    let lives = "it belongs to a resource, which lives in one instance";
    assert_eq!(
        reasons,
        [
            format!("the function foreign/shapes-[constructor]counter is no tool: {lives}"),
            format!("the function foreign/shapes-[method]counter.next is no tool: {lives}"),
            "the function foreign/shapes-open is no tool: it passes a resource, which lives in one instance and has no JSON".to_owned(),
        ]
    );
}

#[test]
fn a_result_and_a_call_of_such_a_component_are_bounded_as_any_other() {
    let (world, path) = world();
    let limited = |tool: &str, arguments: Value| {
        let record = call(&world, &path, tool, &arguments).expect(5).json();
        record["error"]["kind"].as_str().expect("a kind").to_owned()
    };
    // Within the room that its values need while they are read.
    let bytes = call(&world, &path, "shapes-bytes", &json!({"count": 600_000})).expect(0).json();
    assert_eq!(bytes["content"][0]["base64"].as_str().map(str::len), Some(800_000));
    assert_eq!(limited("shapes-bytes", json!({"count": 4_000_000})), "limit-output");
    assert_eq!(limited("shapes-words", json!({"count": 5000})), "limit-output", "it fits in the room, and the result does not");
    assert_eq!(limited("shapes-words", json!({"count": 100_000})), "limit-output");
    world.user_config("[limits]\ntime = \"300ms\"\n");
    assert_eq!(limited("shapes-spin", json!({})), "limit-time");
}

/// A component whose one function takes a type of this WIT, which is more than can be passed in registers.
fn taking(types: &str, last: &str) -> Vec<u8> {
    let wit = format!("package test:large; interface deep {{ {types} take: func(it: {last}); }} world w {{ export deep; }}");
    let module = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
        (func (export "test:large/deep#take") (param i32)))"#;
    let mut module = wat::parse_str(module).expect("a module");
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("deep.wit", &wit).expect("a package");
    let world = resolve.select_world(&[package], None).expect("a world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).expect("metadata");
    wit_component::ComponentEncoder::default().module(&module).expect("a module").validate(true).encode().expect("a component")
}

/// Takes a type of doubled types, so many levels deep.
fn doubled(levels: usize) -> Vec<u8> {
    let types: String = (1..=levels).map(|n| format!("type t{n} = tuple<t{0}, t{0}>;\n", n - 1)).collect();
    taking(&format!("type t0 = u8;\n{types}"), &format!("t{levels}"))
}

#[test]
fn names_of_a_type_are_counted_wherever_they_are_used_and_too_many_make_no_tool() {
    let world = World::new();
    let names: Vec<String> = (0..60).map(|n| format!("n{n}-{}", "x".repeat(60))).collect();
    let types = format!("enum many {{ {} }}\n", names.join(", "));
    for (uses, fits) in [(3, true), (40, false)] {
        let component = taking(&types, &format!("tuple<{}, {}>", vec!["many"; uses].join(", "), vec!["u8"; 20].join(", ")));
        let path = world.write("components/foreign.wasm", component).display().to_string();
        let status = palisade(&world, &path, &["status"]).expect(0).json();
        assert_eq!(status["tools"], u8::from(fits), "{status}");
        let reason = status["quarantined"][0]["reason"].as_str().unwrap_or_default();
        assert!(fits || reason.contains("deep-take: the names in its types have more than 32768 bytes"), "{reason}");
    }
}

#[test]
fn flags_cost_what_the_engine_keeps_of_them() {
    let (world, path) = world();
    let few = call(&world, &path, "shapes-flags", &json!({"count": 2})).expect(0).json();
    assert_eq!(few["content"][0]["value"]["result"], json!([["read", "write", "run-it"], ["read", "write", "run-it"]]));
    let many = call(&world, &path, "shapes-flags", &json!({"count": 20_000})).expect(5).json();
    assert_eq!(many["error"]["message"], "it passed more than 4.0 MiB at once");
}

#[test]
fn a_type_that_doubles_with_each_level_is_refused_and_costs_nothing() {
    let world = World::new();
    for (levels, why) in [(6, None), (16, Some("its types have more than 1000 parts, or those of all functions 20000"))] {
        let path = world.write("components/foreign.wasm", doubled(levels)).display().to_string();
        let status = palisade(&world, &path, &["status"]).expect(0).json();
        match why {
            None => assert_eq!((&status["tools"], &status["quarantined"]), (&json!(1), &json!([]))),
            Some(why) => {
                let reason = status["quarantined"][0]["reason"].as_str().unwrap_or_default();
                assert!(reason.ends_with(&format!("none of the functions it exports can be a tool; deep-take: {why}")), "{reason}");
            }
        }
    }
}

#[test]
fn an_import_that_nothing_provides_is_named_with_what_would_help() {
    let world = World::new();
    for (import, help) in [
        ("wasi:keyvalue/store@0.2.0-draft", "which a manifest asks for with `store = true`"),
        ("wasi:cli/environment@0.3.0", "build it for WASI 0.2, in Rust for wasm32-wasip2"),
        ("test:other/thing@1.0.0", "nothing here provides it"),
        ("palisade:plugin/host@0.2.0", "build it with the SDK of this one"),
    ] {
        let component = wat::parse_str(format!(r#"(component (import "{import}" (instance (export "f" (func)))))"#)).expect("a component");
        let path = world.write("components/foreign.wasm", component).display().to_string();
        let status = palisade(&world, &path, &["status"]).expect(0).json();
        let reason = status["quarantined"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(&format!("the component imports {import}: ")) && reason.contains(help), "{reason}");
    }
}

/// Three libraries that share a memory and a table, as a compiler links them: five core modules with the one that has both and
/// what stands alone.
const LINKED: &str = r#"(component
  (core module $alone (func (export "one") (result i32) (i32.const 1)))
  (core module $main (memory (export "memory") 1) (table (export "table") 3 funcref) (global (export "zero") i32 (i32.const 0))
    (global (export "one") i32 (i32.const 1)) (global (export "two") i32 (i32.const 2)))
  (core module $first (import "env" "memory" (memory 1)) (import "env" "table" (table 3 funcref)) (import "env" "zero" (global i32))
    (import "alone" "one" (func $one (result i32)))
    (func $f (result i32) (i32.store (i32.const 8) (i32.const 20)) (call $one)) (elem (global.get 0) func $f))
  (core module $second (import "env" "memory" (memory 1)) (import "env" "table" (table 3 funcref)) (import "env" "one" (global i32))
    (type $f (func (result i32)))
    (func $g (result i32) (i32.mul (i32.const 2) (call_indirect (type $f) (i32.const 0)))) (elem (global.get 0) func $g))
  (core module $third (import "env" "memory" (memory 1)) (import "env" "table" (table 3 funcref)) (import "env" "two" (global i32))
    (type $f (func (result i32)))
    (func $h (export "run") (result i32) (i32.add (call_indirect (type $f) (i32.const 1)) (i32.load (i32.const 8))))
    (elem (global.get 0) func $h))
  (core instance $alone (instantiate $alone))
  (core instance $main (instantiate $main))
  (core instance $first (instantiate $first (with "env" (instance $main)) (with "alone" (instance $alone))))
  (core instance $second (instantiate $second (with "env" (instance $main))))
  (core instance $third (instantiate $third (with "env" (instance $main))))
  (func (export "run") (result u32) (canon lift (core func $third "run"))))"#;

#[test]
fn libraries_that_share_a_memory_are_one_module_when_they_run() {
    let world = World::new();
    let component = wat::parse_str(LINKED).expect("a component");
    // One core module is instantiated, not five.
    let plugin = world.plugin("linked", &component, "kind = \"component\"\n[limits]\ninstances = 1\n");
    let answer = palisade(&world, plugin.to_str().expect("text"), &["call", "linked/run", "{}"]).expect(0);
    assert_eq!(answer.json()["content"], json!([{"type": "json", "value": {"result": 22}}]));
}

#[test]
fn libraries_that_are_far_from_each_other_in_memory_load_as_they_did() {
    let world = World::new();
    // In one module what lies between them is code too, and more of it than a small component may have.
    let far = LINKED
        .replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 200) (data (i32.const 0) \"a\")")
        .replace("(call $one)) (elem", "(call $one)) (data (i32.const 8000000) \"\\05\") (elem")
        .replace("(i32.load (i32.const 8))", "(i32.load8_u (i32.const 8000000))");
    assert_ne!(far, LINKED);
    let plugin = world.plugin("linked", &wat::parse_str(far).expect("a component"), "kind = \"component\"\n");
    let answer = palisade(&world, plugin.to_str().expect("text"), &["call", "linked/run", "{}"]).expect(0);
    assert_eq!(answer.json()["content"], json!([{"type": "json", "value": {"result": 7}}]));
}

#[test]
fn a_plugin_is_one_module_with_what_its_compiler_put_before_it() {
    let world = World::new();
    // As Rust and JavaScript are compiled: a module that imports, one between it and what needs its memory, and one that fills that.
    let component = std::fs::read(palisade_tests::example("text-stats").join("text-stats.wasm")).expect("it is built");
    for (instances, code) in [(2, 0), (1, 4)] {
        let plugin = world.plugin("text-stats", &component, &format!("[limits]\ninstances = {instances}\n"));
        palisade(&world, plugin.to_str().expect("text"), &["call", "text-stats/count", r#"{"text":"a b"}"#]).expect(code);
    }
}
