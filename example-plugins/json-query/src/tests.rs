use super::*;
use palisade_sdk::serde_json::json;

fn run(filter: &str, json: &str) -> Result<Results> {
    query(Query { filter: filter.to_owned(), json: json.to_owned() }).map(|Json(results)| results)
}

fn results(filter: &str, json: &str) -> Vec<Value> {
    let got = run(filter, json).unwrap_or_else(|e| panic!("{filter}: {}", e.message()));
    assert!(!got.truncated, "{filter}");
    got.results
}

fn failure(filter: &str, json: &str) -> String {
    run(filter, json).unwrap_err().message().to_owned()
}

#[test]
fn filters_give_their_results_in_order() {
    let shop = r#"{"items":[{"name":"tea","price":4},{"name":"pot","price":30.5},{"name":"cup","price":12}]}"#;
    for (filter, want) in [
        (".", vec![palisade_sdk::serde_json::from_str(shop).unwrap()]),
        (".items[] | select(.price > 10) | .name", vec![json!("pot"), json!("cup")]),
        ("[.items[].price] | add", vec![json!(46.5)]),
        (".items | map({(.name): .price}) | add", vec![json!({"tea": 4, "pot": 30.5, "cup": 12})]),
        (".items | sort_by(.price) | first.name", vec![json!("tea")]),
        (".items[] | .name | test(\"^[tp]\")", vec![json!(true), json!(true), json!(false)]),
        ("@base64 \"\\(.items[0].name)\"", vec![json!("dGVh")]),
        ("reduce .items[] as $i (0; . + ($i.price | floor))", vec![json!(46)]),
        (".nothing?, (.items | length)", vec![Value::Null, json!(3)]),
        ("empty", vec![]),
        ("1, halt, 2", vec![json!(1)]),
        ("first(repeat(7))", vec![json!(7)]),
    ] {
        assert_eq!(results(filter, shop), want, "{filter}");
    }
}

#[test]
fn numbers_keep_64_bits_and_those_without_json_are_null() {
    assert_eq!(
        results(".[]", "[18446744073709551615, -9223372036854775808, 0.5, 1e300]"),
        [json!(u64::MAX), json!(i64::MIN), json!(0.5), json!(1e300)]
    );
    assert_eq!(results("nan, infinite, -infinite", "null"), [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn a_wrong_filter_is_refused_with_what_was_expected_and_where() {
    for (filter, why) in [
        (".items[", "`filter` is not a jq filter: closing bracket is expected at its end"),
        (".a |", "`filter` is not a jq filter: term is expected at its end"),
        (".a )", "`filter` is not a jq filter: token is expected at `)`"),
        ("", "`filter` is not a jq filter: term is expected at its end"),
        ("nosuch(1)", "`filter` does not compile: there is no filter `nosuch` of 1 arguments here"),
        ("$x", "`filter` does not compile: there is no variable `$x`"),
    ] {
        assert_eq!(failure(filter, "null"), why, "{filter}");
    }
}

#[test]
fn a_filter_that_fails_says_why() {
    assert_eq!(failure(".[] | .a", "[1]"), "the filter failed: cannot index 1 with \"a\"");
    assert_eq!(failure("error(\"no luck\")", "null"), "the filter failed: no luck");
    assert_eq!(failure("error({a: 1})", "null"), "the filter failed: {\"a\":1}");
    assert_eq!(failure("halt_error", "null"), "the filter halted with code 5");
    assert_eq!(failure("{(1): 2}", "null"), "result 1 is not JSON: it holds an object with a key that is not a string");
    assert_eq!(failure("reduce range(200) as $i (0; [.])", "null"), "result 1 is not JSON: it is nested deeper than 100 levels");
    let long = failure("error(\"x\" * 5000)", "null");
    assert!(long.ends_with("xx…") && long.len() < 300, "{long}");
}

#[test]
fn the_filter_reaches_no_environment_no_file_and_no_module() {
    for (filter, why) in [
        ("env", "no filter `env`"),
        ("$ENV", "no variable `$ENV`"),
        ("localtime", "no filter `localtime`"),
        ("input", "no filter `input`"),
        ("include \"a\"; .", "imports `a`"),
        ("import \"a\" as a; a::b", "imports `a`"),
        ("import \"a\" as $a; $a", "imports `a`"),
    ] {
        assert!(failure(filter, "null").contains(why), "{filter}: {}", failure(filter, "null"));
    }
}

#[test]
fn what_is_not_one_json_document_is_refused() {
    for json in ["", "{", "1 2", "NaN", "# a\n1", "{'a': 1}"] {
        assert!(failure(".", json).starts_with("`json` is not one JSON document: "), "{json}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(failure(".", &deep).contains("recursion limit"));
}

#[test]
fn a_filter_without_end_is_cut_and_it_says_so() {
    for filter in ["repeat(1)", "range(infinite)"] {
        let got = run(filter, "null").unwrap();
        assert_eq!((got.results.len(), got.truncated), (10_000, true), "{filter}");
    }
    assert_eq!(results("range(10000)", "null").len(), 10_000);
}

#[test]
fn a_small_value_that_is_large_as_json_is_left_out() {
    let got = run("1, reduce range(60) as $i (0; [., .])", "null").unwrap();
    assert_eq!((got.results, got.truncated), (vec![json!(1)], true));
    let got = run("\"\\u0001\" * 500000", "null").unwrap();
    assert!(got.results.iter().all(|value| value.to_string().len() <= BYTES));
    assert!(run("\"x\" * 4000000", "null").unwrap().truncated);
}

#[test]
fn the_schema_is_closed_and_requires_both_arguments() {
    let definition = palisade_sdk::definitions(&__palisade_tools()).remove(0);
    let schema: Value = palisade_sdk::serde_json::from_str(&definition.input_schema).unwrap();
    assert_eq!((&schema["additionalProperties"], &schema["required"]), (&json!(false), &json!(["filter", "json"])));
}
