use super::*;
use proptest::prelude::*;
use std::fmt::Write;
use wasmparser::{Parser, Payload};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

/// Entries of the table, one for each function; behind them is one that nobody fills.
const FUNCTIONS: u32 = 12;

/// Fills the table through which what needs memory of the outside is called.
const FIXUPS: &str = r#"  (core module $fixups (import "" "$imports" (table 1 1 funcref)) (import "" "0" (func $f (param i32 i32))) (elem (i32.const 0) func $f))
  (core instance (instantiate $fixups
    (with "" (instance (export "$imports" (table $shim "$imports")) (export "0" (func $said))))))
"#;

/// Changes what is main's, from outside the libraries.
const POKE: &str = r#"  (core module $poke (import "m" "tuned" (global $tuned (mut i32)))
    (func (export "poke") (param i32) (result i32) (global.set $tuned (local.get 0)) (local.get 0)))
  (core instance $poke (instantiate $poke (with "m" (instance (export "tuned" (global $main "tuned"))))))
  (func (export "poke") (param "x" u32) (result u32) (canon lift (core func $poke "poke")))
"#;

/// What a function does with its number, one after the other.
#[derive(Debug, Clone)]
enum Step {
    Add(i32),
    /// A function before it, of its own library or another one.
    Call(u32),
    /// The same through the table that all share; or the entry that nobody filled.
    Indirect(u32),
    Read(u32),
    Write(u32),
    /// The global that main has, and each library changes.
    Stack(i32),
    /// What linking filled in, and nobody changes.
    Linked,
    /// The same, which somebody outside changes.
    Tuned,
    /// A function that no table of all holds: through a table of its own, or as it refers to it.
    Leaf,
    /// Bytes that are put into memory when asked for.
    Bytes(u32),
    /// Gives them up.
    Drop,
    /// A global of its own.
    Own(i32),
    Note,
    Say,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<i32>().prop_map(Step::Add),
        (0..FUNCTIONS).prop_map(Step::Call),
        (0..=FUNCTIONS).prop_map(Step::Indirect),
        (0_u32..110).prop_map(Step::Read),
        (0_u32..110).prop_map(Step::Write),
        Just(Step::Tuned),
        Just(Step::Leaf),
        (0_u32..110).prop_map(Step::Bytes),
        Just(Step::Drop),
        any::<i32>().prop_map(Step::Stack),
        Just(Step::Linked),
        any::<i32>().prop_map(Step::Own),
        Just(Step::Note),
        Just(Step::Say),
    ]
}

/// Libraries of functions; a function calls at most two others, so that all ends soon.
fn libraries() -> impl Strategy<Value = Vec<Vec<Vec<Step>>>> {
    let function = prop::collection::vec(step(), 0..6).prop_map(|steps| {
        let mut calls = 0;
        steps
            .into_iter()
            .filter(|step| {
                calls += usize::from(matches!(step, Step::Call(_) | Step::Indirect(_)));
                calls <= 2
            })
            .collect()
    });
    prop::collection::vec(prop::collection::vec(function, 1..4), 1..5)
}

/// A component of libraries, linked as compilers do: `main` has memory, table and what is filled in; what needs memory of the
/// outside is called through a table of its own, which is filled before the last library is there, or after it. `run` is the last function.
fn linked(libraries: &[Vec<Vec<Step>>], filled_last: bool) -> String {
    let mut text = String::from(
        r#"(component
  (import "note" (func $note (param "x" u32) (result u32)))
  (import "say" (func $say (param "text" string)))
  (core module $shim (type $say (func (param i32 i32))) (table (export "$imports") 1 1 funcref)
    (func (export "0") (param i32 i32) (call_indirect (type $say) (local.get 0) (local.get 1) (i32.const 0))))
  (core instance $shim (instantiate $shim))
  (core module $main (memory (export "memory") 1) (table (export "table") 13 funcref)
    (global (export "stack") (mut i32) (i32.const 1024)) (global (export "linked") (mut i32) (i32.const 77))
    (global (export "tuned") (mut i32) (i32.const 78)) (type (func (param f32)))
"#,
    );
    let mut bases = Vec::new();
    let mut all = 0;
    for library in libraries {
        bases.push(all);
        writeln!(text, "    (global (export \"base{}\") i32 (i32.const {all}))", bases.len() - 1).unwrap();
        all += u32::try_from(library.len()).unwrap();
    }
    text.push_str(
        "    (data (i32.const 0) \"what is there from the beginning, and a word\"))\n  (core instance $main (instantiate $main))\n",
    );
    text.push_str("  (core func $noted (canon lower (func $note)))\n");
    text.push_str("  (core func $said (canon lower (func $say) (memory (core memory $main \"memory\")) string-encoding=utf8))\n");
    for (number, library) in libraries.iter().enumerate() {
        let first = bases[number];
        if number + 1 == libraries.len() && !filled_last {
            text.push_str(FIXUPS);
        }
        let owner = |function: u32| bases.iter().rposition(|base| *base <= function).unwrap();
        writeln!(text, "  (core module $lib{number}").unwrap();
        (0..=number).for_each(|_| text.push_str("    (type (func (param i64)))\n"));
        text.push_str("    (type $f (func (param i32) (result i32)))\n");
        text.push_str("    (import \"env\" \"memory\" (memory 1)) (import \"env\" \"table\" (table 13 funcref))\n");
        text.push_str("    (import \"env\" \"base\" (global $base i32)) (import \"env\" \"stack\" (global $stack (mut i32)))\n");
        text.push_str("    (import \"got\" \"linked\" (global $linked (mut i32))) (import \"got\" \"tuned\" (global $tuned (mut i32)))\n");
        text.push_str("    (import \"host\" \"note\" (func $note (type $f))) (import \"shim\" \"0\" (func $say (param i32 i32)))\n");
        for function in 0..first {
            writeln!(text, "    (import \"lib{}\" \"f{function}\" (func $f{function} (type $f)))", owner(function)).unwrap();
        }
        // More tables than a module may have are not joined.
        let table = number < 2;
        if table {
            text.push_str("    (table $own 1 funcref) (elem $fill funcref (ref.func $leaf))\n");
        }
        writeln!(text, "    (global $own (mut i32) (i32.const {number}))").unwrap();
        writeln!(text, "    (data $bytes \"\\01\\02\\03\\{number:02}\") (data (i32.const {}) \"library {number}\")", 64 + 8 * number)
            .unwrap();
        writeln!(text, "    (func $leaf (export \"leaf\") (type $f) (i32.xor (local.get 0) (i32.const {})))", number + 5).unwrap();
        for (at, steps) in library.iter().enumerate() {
            let own = first + u32::try_from(at).unwrap();
            writeln!(text, "    (func $f{own} (export \"f{own}\") (type $f)").unwrap();
            for step in steps {
                let line = match step {
                    Step::Add(n) => format!("(local.set 0 (i32.add (local.get 0) (i32.const {n})))"),
                    Step::Call(_) | Step::Indirect(_) if own == 0 => String::new(),
                    Step::Call(n) => format!("(local.set 0 (call $f{} (local.get 0)))", n % own),
                    Step::Indirect(n) => {
                        let entry = if *n == FUNCTIONS { FUNCTIONS } else { n % own };
                        format!("(local.set 0 (call_indirect (type $f) (local.get 0) (i32.const {entry})))")
                    }
                    Step::Read(n) => format!("(local.set 0 (i32.xor (local.get 0) (i32.load (i32.const {n}))))"),
                    Step::Write(n) => format!("(i32.store (i32.const {n}) (local.get 0))"),
                    Step::Stack(n) => format!(
                        "(global.set $stack (i32.add (global.get $stack) (i32.const {n}))) (local.set 0 (i32.xor (local.get 0) (global.get $stack)))"
                    ),
                    Step::Linked => "(local.set 0 (i32.add (local.get 0) (i32.mul (global.get $linked) (global.get $base))))".to_owned(),
                    Step::Own(n) => format!(
                        "(global.set $own (i32.xor (global.get $own) (i32.const {n}))) (local.set 0 (i32.add (local.get 0) (global.get $own)))"
                    ),
                    Step::Tuned => "(local.set 0 (i32.add (local.get 0) (global.get $tuned)))".to_owned(),
                    Step::Leaf if table => "(table.init $own $fill (i32.const 0) (i32.const 0) (i32.const 1))
                        (local.set 0 (call_indirect $own (type $f) (local.get 0) (i32.const 0)))"
                        .to_owned(),
                    Step::Leaf => "(local.set 0 (i32.add (call $leaf (local.get 0)) (ref.is_null (ref.func $leaf))))".to_owned(),
                    Step::Bytes(n) => format!("(memory.init $bytes (i32.const {n}) (i32.const 0) (i32.const 4))"),
                    Step::Drop => "(data.drop $bytes)".to_owned(),
                    Step::Note => "(local.set 0 (call $note (local.get 0)))".to_owned(),
                    Step::Say => "(call $say (i32.const 0) (i32.const 12))".to_owned(),
                };
                writeln!(text, "      {line}").unwrap();
            }
            text.push_str("      (local.get 0))\n");
        }
        let functions: String = (first..first + u32::try_from(library.len()).unwrap()).map(|f| format!(" $f{f}")).collect();
        writeln!(text, "    (elem (global.get $base) func{functions}))").unwrap();
        write!(text, "  (core instance $lib{number} (instantiate $lib{number} (with \"host\" (instance (export \"note\" (func $noted))))")
            .unwrap();
        text.push_str(" (with \"shim\" (instance $shim)) (with \"got\" (instance $main))");
        (0..number).for_each(|lib| write!(text, " (with \"lib{lib}\" (instance $lib{lib}))").unwrap());
        text.push_str(
            "\n    (with \"env\" (instance (export \"memory\" (memory $main \"memory\")) (export \"table\" (table $main \"table\"))\n",
        );
        writeln!(text, "      (export \"base\" (global $main \"base{number}\")) (export \"stack\" (global $main \"stack\"))))))").unwrap();
    }
    let (last, run) = (libraries.len() - 1, all - 1);
    text.push_str(if filled_last { FIXUPS } else { "" });
    text.push_str(POKE);
    writeln!(text, "  (func (export \"run\") (param \"x\" u32) (result u32) (canon lift (core func $lib{last} \"f{run}\"))))").unwrap();
    text
}

/// What a component says and answers: calls of one instance, between which something is changed from outside.
fn ran(component: &[u8]) -> (Vec<String>, Vec<Result<u32, String>>) {
    let engine = Engine::default();
    let component = Component::new(&engine, component).unwrap();
    let mut linker = Linker::<Vec<String>>::new(&engine);
    linker
        .root()
        .func_wrap("note", |mut store, (x,): (u32,)| {
            store.data_mut().push(format!("note {x}"));
            Ok((x.wrapping_mul(3).wrapping_add(1),))
        })
        .unwrap();
    linker
        .root()
        .func_wrap("say", |mut store, (text,): (String,)| {
            store.data_mut().push(text);
            Ok(())
        })
        .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let [run, poke] = ["run", "poke"].map(|name| instance.get_typed_func::<(u32,), (u32,)>(&mut store, name).unwrap());
    let answers = [(&run, 0), (&poke, 5), (&run, 1), (&run, u32::MAX)].map(|(function, x)| {
        let answer = function.call(&mut store, (x,));
        answer
            .map(|(answer,)| answer)
            .map_err(|error| error.downcast_ref::<wasmtime::Trap>().map_or_else(|| "entered again".to_owned(), |trap| format!("{trap:?}")))
    });
    (store.into_data(), answers.into())
}

/// How many core modules import a memory or a table of another one.
fn sharing(component: &[u8]) -> usize {
    let imports = Parser::new(0).parse_all(component).filter_map(|payload| match payload.unwrap() {
        Payload::ImportSection(imports) => Some(imports),
        _ => None,
    });
    let shares = |ty: wasmparser::TypeRef| matches!(ty, wasmparser::TypeRef::Memory(_) | wasmparser::TypeRef::Table(_));
    imports.filter(|imports| imports.clone().into_imports().any(|import| shares(import.unwrap().ty))).count()
}

/// How many core modules it has.
fn modules(component: &[u8]) -> usize {
    Parser::new(0).parse_all(component).filter(|payload| matches!(payload, Ok(Payload::ModuleSection { .. }))).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn joined_libraries_do_what_they_did(libraries in libraries(), filled_last in any::<bool>()) {
        let apart = wat::parse_str(linked(&libraries, filled_last)).unwrap();
        let joined = join(&apart).unwrap();
        prop_assert_eq!(ran(&joined), ran(&apart));
        // What fills the table of what needs memory is left.
        prop_assert_eq!(sharing(&joined), 1);
        prop_assert_eq!(sharing(&apart), libraries.len() + 1);
        // What has that table is joined where nobody writes in it before the last library is there.
        prop_assert_eq!(modules(&apart) - modules(&joined), libraries.len() + usize::from(filled_last));
    }

    #[test]
    fn a_damaged_component_is_joined_or_left_and_nothing_else(at in any::<prop::sample::Index>(), byte in any::<u8>(), last in any::<bool>()) {
        let mut component = wat::parse_str(linked(&[vec![vec![Step::Say]], vec![vec![Step::Call(0), Step::Indirect(0), Step::Linked]]], last)).unwrap();
        let at = at.index(component.len());
        component[at] = byte;
        let _ = join(&component);
    }
}

fn left(text: &str) -> String {
    join(&wat::parse_str(text).unwrap()).unwrap_err().to_string()
}

#[test]
fn what_is_not_linked_as_libraries_are_is_left() {
    let two = linked(&[vec![vec![]], vec![vec![]]], false);
    assert!(join(&wat::parse_str(&two).unwrap()).is_ok());
    let own = |number: u32, more: &str| {
        let own = format!("(global $own (mut i32) (i32.const {number}))");
        (own.clone(), format!("{more} {own}"))
    };
    let before = |what: &str, more: &str| (what.to_owned(), format!("{more}\n{what}"));
    let [early, between, late] = ["(core module $shim", "(core instance $lib1", "(core module $poke"];
    let runs = "(start $start) (func $start)";
    let late_table = "(core module $x (import \"x\" \"table\" (table 1 funcref)) (func $f) (elem (i32.const 0) func $f))
        (core instance (instantiate $x (with \"x\" (instance (export \"table\" (table $main \"table\"))))))";
    let shims_table =
        "(core module $x (import \"x\" \"$imports\" (table 1 1 funcref))) (core instance (instantiate $x (with \"x\" (instance $shim))))";
    let late_start = "(core module $x (import \"x\" \"f0\" (func (param i32) (result i32))) (func $f) (start $f))
        (core instance (instantiate $x (with \"x\" (instance (export \"f0\" (func $lib0 \"f0\"))))))";
    let whole = "(core module $whole (import \"lib\" \"f0\" (func (param i32) (result i32))))
        (core instance (instantiate $whole (with \"lib\" (instance $lib0))))";
    let destructor = "(core module $x (func (export \"d\") (param i32))) (core instance $x (instantiate $x))
        (type $r (resource (rep i32) (dtor (core func $x \"d\"))))";
    let cases = [
        (own(1, "(memory 1)"), "it has more memories than one"),
        (before(between, "(core instance (instantiate $main))"), "it has more memories than one"),
        (
            before(
                late,
                "(core instance (instantiate $lib1 (with \"host\" (instance (export \"note\" (func $noted)))) (with \"shim\" (instance $shim)) (with \"got\" (instance $main)) (with \"lib0\" (instance $lib0)) (with \"env\" (instance (export \"memory\" (memory $main \"memory\")) (export \"table\" (table $main \"table\")) (export \"base\" (global $main \"base1\")) (export \"stack\" (global $main \"stack\"))))))",
            ),
            "a library is there twice",
        ),
        (own(0, runs), "a library runs before the last one is there"),
        (own(1, runs), "the last library runs, and what it may call comes after it"),
        (own(1, "(table 1 funcref) (table 1 funcref)"), "they have too many tables"),
        (
            (
                "(import \"got\" \"linked\"".to_owned(),
                "(import \"shim\" \"$imports\" (table 1 1 funcref)) (import \"got\" \"linked\"".to_owned(),
            ),
            "a table from outside, in which others may write in their turn",
        ),
        (before(early, "(import \"m\" (core module $m))"), "a module goes in or out"),
        (before(early, "(core module $x (export \"x\"))"), "a module goes in or out"),
        (before(early, "(core module $x) (component (alias outer 1 $x (core module)))"), "a module goes in or out"),
        (before(early, destructor), "a type names a function"),
        (before(late, whole), "a library goes outside as a whole"),
        (before(between, late_table), "between the libraries something runs, or writes where others write"),
        (before(between, shims_table), "between the libraries something runs, or writes where others write"),
        (before(between, late_start), "between the libraries something runs, or writes where others write"),
        (
            before(between, "(core module $x (func $f) (start $f)) (core instance (instantiate $x))"),
            "between the libraries something runs, or writes where others write",
        ),
        (
            before(between, "(component $c) (instance (instantiate $c))"),
            "between the libraries something runs, or writes where others write",
        ),
    ];
    for ((what, instead), why) in cases {
        let text = two.replace(&what, &instead);
        assert_ne!(text, two);
        assert_eq!(left(&text), why, "{text}");
    }
    assert_eq!(left("(component (core module $a (memory 1)) (core instance (instantiate $a)))"), "it has no libraries");
    // It is none: nobody has the memory that a library wants.
    let wrong = two.replace("\"memory\" (memory 1))", "\"memory\" (memory 10))");
    assert!(wrong != two && left(&wrong).contains("mismatch in memory limits"), "{}", left(&wrong));
    // What nobody asks for, and a library that is no one's.
    for (what, instead) in
        [own(1, "(global $late (mut i32) (i32.const 1))"), before(between, "(core module $x (func)) (core instance (instantiate $x))")]
    {
        let text = two.replace(&what, &instead);
        assert!(text != two && join(&wat::parse_str(&text).unwrap()).is_ok(), "{text}");
    }
}

#[test]
fn a_library_that_runs_last_runs() {
    let text = linked(&[vec![vec![]], vec![vec![Step::Read(40)]]], false);
    // Nothing else may come after it then.
    let own = "(global $own (mut i32) (i32.const 1))";
    let start = text.replace(own, &format!("(start $start) (func $start (i32.store (i32.const 40) (i32.const 123))) {own}"));
    let start = start.replace(FIXUPS, "");
    let apart = wat::parse_str(&start).unwrap();
    let joined = join(&apart).unwrap();
    assert_eq!(ran(&joined), ran(&apart));
    assert_eq!(ran(&joined).1[0], Ok(123));
}
