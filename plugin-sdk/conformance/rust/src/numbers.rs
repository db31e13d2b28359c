//! Numbers.

use palisade_sdk::{Json, Result, arguments, output, tool};

#[arguments]
pub struct I64 {
    /// A value.
    #[schemars(range(min = -9_223_372_036_854_775_808_i64, max = 9_223_372_036_854_775_807_i64))]
    pub value: i64,
}

#[arguments]
pub struct U64 {
    /// A value.
    value: u64,
}

#[arguments]
pub struct Safe {
    /// A value.
    #[schemars(range(min = -9_007_199_254_740_991_i64, max = 9_007_199_254_740_991_i64))]
    value: i64,
}

#[arguments]
pub struct Two {
    /// One.
    a: i64,
    /// Another.
    b: i64,
}

#[arguments]
pub struct Integers {
    /// The values.
    values: Vec<i64>,
}

#[arguments]
pub struct Percent {
    /// From 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    value: u8,
}

#[arguments]
pub struct Number {
    /// A value.
    value: f64,
}

#[arguments]
pub struct Division {
    /// What is divided.
    a: f64,
    /// By what.
    b: f64,
}

#[output]
pub struct Quotient {
    quotient: Option<f64>,
}

#[arguments]
pub struct Numbers {
    /// The values.
    values: Vec<f64>,
}

#[arguments]
pub struct None {}

#[output]
pub struct Many {
    whole: i64,
    number: f64,
    third: f64,
    tiny: f64,
    small: f64,
    large: f64,
    max: u64,
    min: i64,
    negative_zero: f64,
    list: Vec<f64>,
}

/// Returns the value.
#[tool]
pub fn echo_i64(args: I64) -> Result<Json<i64>> {
    Ok(Json(args.value))
}

/// Returns the value.
#[tool]
pub fn echo_u64(args: U64) -> Result<Json<u64>> {
    Ok(Json(args.value))
}

/// Returns a value that each language holds.
#[tool]
pub fn echo_safe(args: Safe) -> Result<Json<i64>> {
    Ok(Json(args.value))
}

/// Adds two values.
#[tool]
pub fn add(args: Two) -> Result<Json<i64>> {
    Ok(Json(args.a.checked_add(args.b).ok_or("the sum does not fit")?))
}

/// Adds all values.
#[tool]
pub fn sum(args: Integers) -> Result<Json<i64>> {
    let sum = args.values.iter().try_fold(0_i64, |sum, value| sum.checked_add(*value));
    Ok(Json(sum.ok_or("the sum does not fit")?))
}

/// Writes a percentage.
#[tool]
pub fn percent(args: Percent) -> Result<Json<String>> {
    Ok(Json(format!("{} %", args.value)))
}

/// Returns the value.
#[tool]
pub fn echo_number(args: Number) -> Result<Json<f64>> {
    Ok(Json(args.value))
}

/// Divides; what is no number is null.
#[tool]
pub fn divide(args: Division) -> Result<Json<Quotient>> {
    Ok(Json(Quotient { quotient: Some(args.a / args.b) }))
}

/// The mean of the values.
#[tool]
pub fn mean(args: Numbers) -> Result<Json<f64>> {
    if args.values.is_empty() {
        return Err("there are no values".into());
    }
    Ok(Json(args.values.iter().sum::<f64>() / args.values.len() as f64))
}

/// Returns numbers of all kinds.
#[tool]
pub fn numbers(_: None) -> Result<Json<Many>> {
    Ok(Json(Many {
        whole: 1,
        number: 1.0,
        third: 1.0 / 3.0,
        tiny: 1e-7,
        small: 1e-5,
        large: 1e21,
        max: u64::MAX,
        min: i64::MIN,
        negative_zero: -0.0,
        list: vec![1.0, 2.5],
    }))
}
