use super::types::{Int, NOT_FINITE, Type, object};
use super::values::{self, Memory};
use crate::schema::Schema;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wasmtime::component::Val;

fn value(ty: &Type, given: &Value) -> Result<Val, String> {
    values::value(ty, given, &mut Memory::default())
}

fn json(ty: &Type, given: &Val) -> Option<Value> {
    values::json(ty, given, &mut Memory::default()).ok()
}

fn fields(types: &[(String, Type)], given: &Map<String, Value>) -> Result<Vec<(String, Val)>, String> {
    values::fields(types, given, &mut Memory::default())
}

const INTS: [Int; 8] = [Int::S8, Int::U8, Int::S16, Int::U16, Int::S32, Int::U32, Int::S64, Int::U64];

fn leaf() -> impl Strategy<Value = Type> {
    let plain = prop_oneof![
        Just(Type::Bool),
        Just(Type::Float32),
        Just(Type::Float64),
        Just(Type::Char),
        Just(Type::String),
        Just(Type::Bytes),
        names().prop_map(Type::Enum),
        names().prop_map(Type::Flags),
    ];
    prop_oneof![plain, proptest::sample::select(INTS.to_vec()).prop_map(Type::Int)]
}

fn names() -> impl Strategy<Value = Vec<String>> {
    (1..5_usize).prop_map(|n| (0..n).map(|i| format!("n{i}")).collect())
}

fn types() -> impl Strategy<Value = Type> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let many = || proptest::collection::vec(inner.clone(), 1..4);
        let maybe = || proptest::option::of(inner.clone());
        let named = |types: Vec<Type>| types.into_iter().enumerate().map(|(i, ty)| (format!("n{i}"), ty)).collect::<Vec<_>>();
        let cases = proptest::collection::vec(maybe(), 1..4)
            .prop_map(|types| types.into_iter().enumerate().map(|(i, ty)| (format!("n{i}"), ty)).collect());
        prop_oneof![
            // A list of bytes has a type of its own.
            inner.clone().prop_map(|ty| if ty == Type::Int(Int::U8) { Type::Bytes } else { Type::List(Box::new(ty)) }),
            (leaf(), inner.clone()).prop_map(|(key, ty)| Type::Map(Box::new(key), Box::new(ty))),
            many().prop_map(move |types| Type::Record(named(types))),
            many().prop_map(Type::Tuple),
            cases.prop_map(Type::Variant),
            inner.clone().prop_map(|ty| Type::Option(Box::new(ty))),
            (maybe(), maybe()).prop_map(|(ok, error)| Type::Result(ok.map(Box::new), error.map(Box::new))),
        ]
    })
}

fn any_value(ty: &Type) -> BoxedStrategy<Val> {
    let many = |strategy: BoxedStrategy<Val>| proptest::collection::vec(strategy, 0..4);
    let each = |types: Vec<BoxedStrategy<Val>>| types;
    match ty {
        Type::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Type::Int(Int::S8) => any::<i8>().prop_map(Val::S8).boxed(),
        Type::Int(Int::U8) => any::<u8>().prop_map(Val::U8).boxed(),
        Type::Int(Int::S16) => any::<i16>().prop_map(Val::S16).boxed(),
        Type::Int(Int::U16) => any::<u16>().prop_map(Val::U16).boxed(),
        Type::Int(Int::S32) => any::<i32>().prop_map(Val::S32).boxed(),
        Type::Int(Int::U32) => any::<u32>().prop_map(Val::U32).boxed(),
        Type::Int(Int::S64) => prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)].prop_map(Val::S64).boxed(),
        Type::Int(Int::U64) => prop_oneof![any::<u64>(), Just(u64::MAX)].prop_map(Val::U64).boxed(),
        Type::Float32 => any::<u32>().prop_map(|bits| Val::Float32(f32::from_bits(bits))).boxed(),
        Type::Float64 => any::<u64>().prop_map(|bits| Val::Float64(f64::from_bits(bits))).boxed(),
        Type::Char => any::<char>().prop_map(Val::Char).boxed(),
        Type::String => any::<String>().prop_map(Val::String).boxed(),
        Type::Bytes => many(any::<u8>().prop_map(Val::U8).boxed()).prop_map(Val::List).boxed(),
        Type::List(ty) => many(any_value(ty)).prop_map(Val::List).boxed(),
        Type::Map(key, ty) => {
            let unique = **key == Type::String;
            proptest::collection::vec((any_value(key), any_value(ty)), 0..4)
                .prop_map(move |mut entries| {
                    if unique {
                        entries.sort_by_key(|(key, _)| format!("{key:?}"));
                        entries.dedup_by(|a, b| a.0 == b.0);
                    }
                    Val::Map(entries)
                })
                .boxed()
        }
        Type::Record(types) => {
            let names: Vec<String> = types.iter().map(|(name, _)| name.clone()).collect();
            let each = each(types.iter().map(|(_, ty)| any_value(ty)).collect());
            each.prop_map(move |items| Val::Record(names.iter().cloned().zip(items).collect())).boxed()
        }
        Type::Tuple(types) => each(types.iter().map(any_value).collect()).prop_map(Val::Tuple).boxed(),
        Type::Variant(cases) => proptest::sample::select(cases.clone())
            .prop_flat_map(|(name, ty)| match ty {
                None => Just(Val::Variant(name, None)).boxed(),
                Some(ty) => any_value(&ty).prop_map(move |item| Val::Variant(name.clone(), Some(Box::new(item)))).boxed(),
            })
            .boxed(),
        Type::Enum(names) => proptest::sample::select(names.clone()).prop_map(Val::Enum).boxed(),
        Type::Option(ty) => proptest::option::of(any_value(ty)).prop_map(|item| Val::Option(item.map(Box::new))).boxed(),
        Type::Result(ok, error) => {
            let side = |ty: &Option<Box<Type>>| match ty {
                None => Just(None).boxed(),
                Some(ty) => any_value(ty).prop_map(|item| Some(Box::new(item))).boxed(),
            };
            prop_oneof![side(ok).prop_map(|item| Val::Result(Ok(item))), side(error).prop_map(|item| Val::Result(Err(item)))].boxed()
        }
        Type::Flags(names) => proptest::sample::subsequence(names.clone(), 0..=names.len()).prop_map(Val::Flags).boxed(),
    }
}

fn a_type_with_a_value() -> impl Strategy<Value = (Type, Val)> {
    types().prop_flat_map(|ty| {
        let value = any_value(&ty);
        (Just(ty), value)
    })
}

/// The same bits, but for what is not a number: of that there is one.
fn same(a: &Val, b: &Val) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

/// What is nearly a value of many types.
fn nasty() -> impl Strategy<Value = Value> {
    let names = ["", "n0", "n1", "some", "ok", "error", "a", "ab", "\u{1F600}", "QQ==", "QR==", "QUI=", "QUJD", "QUJ", "=", "QQ==\n"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        proptest::sample::select(names.to_vec()).prop_map(|text| json!(text)),
        proptest::sample::select(NOT_FINITE.to_vec()).prop_map(|(name, _)| json!(name)),
        any::<i64>().prop_map(|n| json!(n)),
        proptest::sample::select(INTS.to_vec()).prop_flat_map(|int| {
            let (least, greatest) = int.bounds();
            let (least, greatest) = (i128::from(least), i128::from(greatest));
            proptest::sample::select(vec![least - 1, least, least + 1, greatest - 1, greatest, greatest + 1])
                .prop_map(|n| i64::try_from(n).map(|n| json!(n)).or_else(|_| u64::try_from(n).map(|n| json!(n))).unwrap_or(json!(n as f64)))
        }),
        proptest::sample::select(vec![
            -0.0,
            0.5,
            1.0,
            255.0,
            256.0,
            1e19,
            18_446_744_073_709_551_616.0,
            9.3e18,
            3.5e38,
            -3.5e38,
            1e300,
            1e-46
        ])
        .prop_map(|n: f64| json!(n)),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["n0", "n0"])),
        Just(json!([["n0", "n1"], []])),
        proptest::sample::select(vec!["n0", "n1", "n2", "some", "ok", "error"]).prop_map(|name| json!({name: null})),
        Just(json!({"n0": 1, "n1": null})),
        Just(json!({"ok": null, "error": null})),
    ]
}

/// Puts another value at the place that `at` leads to.
fn replace(given: &mut Value, at: &[usize], other: Value) {
    let count = match given {
        Value::Array(items) => items.len(),
        Value::Object(entries) => entries.len(),
        _ => 0,
    };
    match at.split_first() {
        Some((first, rest)) if count > 0 => match given {
            Value::Array(items) => replace(&mut items[first % count], rest, other),
            Value::Object(entries) => {
                if let Some(item) = entries.values_mut().nth(first % count) {
                    replace(item, rest, other);
                }
            }
            _ => {}
        },
        _ => *given = other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_value_becomes_json_and_the_same_value_again_also_as_text((ty, given) in a_type_with_a_value()) {
        let written = json(&ty, &given).unwrap();
        prop_assert!(same(&value(&ty, &written).unwrap(), &given), "{written}");
        let read: Value = serde_json::from_str(&written.to_string()).unwrap();
        prop_assert!(same(&value(&ty, &read).unwrap(), &given), "{written}");
    }

    #[test]
    fn a_schema_accepts_just_what_converts(
        (ty, given) in a_type_with_a_value(),
        at in proptest::collection::vec(0_usize..4, 0..5),
        other in nasty(),
        change in any::<bool>(),
    ) {
        let types = [("v".to_owned(), ty.clone())];
        let Ok(schema) = Schema::parse(&object(&types, Type::schema).to_string()) else { return Ok(()) };
        let mut given = json(&ty, &given).unwrap();
        if change {
            replace(&mut given, &at, other);
        }
        let given = Map::from_iter([("v".to_owned(), given)]);
        let converts = fields(&types, &given);
        let text = Value::Object(given.clone()).to_string();
        // The bytes count for how long it may take, which is not asked here.
        let valid = schema.validate(&Value::Object(given), 1);
        prop_assert_eq!(converts.is_ok(), valid.is_ok(), "{} {} {:?} {:?}", ty.name(), text, converts, valid);
    }
}

#[test]
fn an_option_in_an_option_tells_none_from_some_none() {
    let ty = Type::Option(Box::new(Type::Option(Box::new(Type::Bool))));
    let some = |inner: Val| Val::Option(Some(Box::new(inner)));
    let all = [
        (Val::Option(None), json!(null)),
        (some(Val::Option(None)), json!({"some": null})),
        (some(some(Val::Bool(true))), json!({"some": true})),
    ];
    for (given, written) in all {
        assert_eq!(json(&ty, &given), Some(written.clone()));
        assert_eq!(value(&ty, &written), Ok(given));
    }
}

#[test]
fn a_type_is_named_as_in_wit_as_far_as_there_is_room() {
    let point = Type::Record(vec![("x".to_owned(), Type::Int(Int::S32)), ("at".to_owned(), Type::Option(Box::new(Type::Char)))]);
    assert_eq!(point.name(), "record {x: s32, at: option<char>}");
    assert_eq!(Type::Result(None, Some(Box::new(Type::String))).name(), "result<_, string>");
    assert_eq!(Type::Variant(vec![("a".to_owned(), None), ("b".to_owned(), Some(Type::Bytes))]).name(), "variant {a, b(list<u8>)}");
    let wide = Type::Tuple(vec![Type::Float32; 100]);
    assert!(wide.name().len() < 170 && wide.name().ends_with('…'));
}

#[test]
fn arguments_that_are_missing_or_too_many_are_named() {
    let types = [("name".to_owned(), Type::String), ("loud".to_owned(), Type::Option(Box::new(Type::Bool)))];
    let of = |given: Value| fields(&types, given.as_object().unwrap());
    assert_eq!(
        of(json!({"name": "Ada"})).unwrap(),
        [("name".to_owned(), Val::String("Ada".to_owned())), ("loud".to_owned(), Val::Option(None))]
    );
    assert_eq!(of(json!({})), Err("`name` is missing".to_owned()));
    assert_eq!(of(json!({"name": "Ada", "other": 1})), Err("there is no `other`".to_owned()));
    assert_eq!(of(json!({"name": 1})), Err("it is not a value of string".to_owned()));
}

#[test]
fn values_that_would_take_much_of_the_host_are_refused_before_they_do() {
    let options = Type::Record((0..190).map(|i| (format!("f{i}"), Type::Option(Box::new(Type::Bool)))).collect());
    let many = Value::Array(vec![json!({}); 20_000]);
    let refused = value(&Type::List(Box::new(options)), &many).unwrap_err();
    assert_eq!(refused, "its values take more than 48 MiB of the host");
    let flags = Type::Flags((0..32).map(|i| format!("f{i}")).collect());
    let set = Val::Flags((0..32).map(|i| format!("f{i}")).collect());
    assert!(json(&flags, &set).is_some());
    assert!(json(&Type::List(Box::new(flags)), &Val::List(vec![set; 20_000])).is_none());
}

#[test]
fn an_error_is_bounded_as_a_result_is() {
    let ty = Type::Result(None, Some(Box::new(Type::String)));
    let of = |size: usize| {
        let error = Val::Result(Err(Some(Box::new(Val::String("x".repeat(size))))));
        super::content(&ty, error, &palisade_policy::Limits::default()).unwrap_err().kind
    };
    assert_eq!(of(4 << 20), crate::error::Kind::ToolFailed);
    assert_eq!(of((4 << 20) + 1), crate::error::Kind::LimitOutput);
}

#[test]
fn names_take_room_of_their_signature_and_of_the_component() {
    let mut all = super::types::Room::of_a_component();
    let mut signatures = 0;
    loop {
        let given = all.of_a_signature();
        let mut room = given;
        let mut names = 0;
        while room.name(&"n".repeat(1016)).is_ok() {
            names += 1;
        }
        if names == 0 {
            break;
        }
        assert_eq!(names, 32);
        all.without(given, room);
        signatures += 1;
    }
    assert_eq!(signatures, 32);
}
