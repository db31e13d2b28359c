//! Everything that has parts.

use palisade_sdk::{Json, Result, arguments, output, schemars, serde, serde_json, tool};
use std::collections::BTreeMap;

#[arguments]
pub struct Flag {
    /// A flag.
    value: bool,
}

#[arguments]
pub struct Null {
    /// Null.
    value: (),
}

#[arguments]
pub struct Maybe {
    /// Perhaps a text.
    value: Option<String>,
}

#[output]
pub struct Given {
    given: bool,
    value: Option<String>,
}

#[arguments]
pub struct MaybeNumber {
    /// Perhaps an integer.
    value: Option<i64>,
}

#[arguments]
#[derive(serde::Serialize)]
pub struct Defaults {
    /// A text.
    #[serde(default = "hello")]
    text: String,
    /// A count.
    #[serde(default = "three")]
    count: i64,
    /// A flag.
    #[serde(default = "yes")]
    flag: bool,
    /// A ratio.
    #[serde(default = "half")]
    ratio: f64,
    /// A list.
    #[serde(default = "list")]
    list: Vec<String>,
}

fn hello() -> String {
    "hello".to_owned()
}

fn three() -> i64 {
    3
}

fn yes() -> bool {
    true
}

fn half() -> f64 {
    0.5
}

fn list() -> Vec<String> {
    vec!["a".to_owned()]
}

#[output]
pub struct Defaulted {
    text: String,
    count: i64,
    flag: bool,
    ratio: f64,
    list: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "::palisade_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "::palisade_sdk::schemars")]
pub enum Color {
    Red,
    Green,
    Blue,
}

impl Color {
    const fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
        }
    }
}

#[arguments]
pub struct OneColor {
    /// A color.
    color: Color,
}

#[output]
pub struct Indexed {
    color: Color,
    index: usize,
}

#[arguments]
pub struct Colors {
    /// Colors.
    colors: Vec<Color>,
}

#[arguments]
#[derive(serde::Serialize)]
pub struct Address {
    street: String,
    city: String,
    zip: Option<String>,
}

#[arguments]
#[derive(serde::Serialize)]
pub struct Human {
    name: String,
    address: Address,
}

#[arguments]
pub struct Person {
    /// A person.
    person: Human,
}

#[arguments]
#[derive(Clone, serde::Serialize)]
pub struct D {
    d: i64,
}

#[arguments]
#[derive(Clone, serde::Serialize)]
pub struct C {
    c: D,
}

#[arguments]
pub struct B {
    b: C,
}

#[arguments]
pub struct A {
    /// Far down.
    a: B,
}

#[output]
pub struct Deep {
    d: i64,
    back: C,
}

#[arguments]
#[derive(serde::Serialize)]
pub struct Keys {
    /// First.
    b: i64,
    /// Second.
    a: i64,
    /// Third.
    c: i64,
}

#[arguments]
pub struct Counts {
    /// By name.
    values: BTreeMap<String, i64>,
}

#[arguments]
pub struct Lists {
    /// By name.
    values: BTreeMap<String, Vec<String>>,
}

#[arguments]
#[derive(Clone, Copy, serde::Serialize)]
pub struct Point {
    x: f64,
    y: f64,
}

#[arguments]
pub struct Places {
    /// By name.
    points: BTreeMap<String, Point>,
}

#[arguments]
pub struct Rows {
    /// The rows.
    rows: Vec<Vec<f64>>,
}

#[arguments]
pub struct Points {
    /// The points.
    points: Vec<Point>,
}

#[output]
pub struct Bounds {
    min: Point,
    max: Point,
}

#[arguments]
#[derive(serde::Serialize)]
#[serde(untagged)]
pub enum TextOrInteger {
    Text(String),
    Integer(i64),
}

#[arguments]
pub struct Either {
    /// A text or an integer.
    value: TextOrInteger,
}

#[output]
pub struct Told {
    kind: &'static str,
    value: TextOrInteger,
}

#[arguments]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[arguments]
pub struct Some {
    /// One text or many.
    value: OneOrMany,
}

#[arguments]
#[derive(serde::Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Shape {
    Circle { radius: f64 },
    Rectangle { width: f64, height: f64 },
}

#[arguments]
pub struct OneShape {
    /// A shape.
    shape: Shape,
}

#[arguments]
pub struct Grow {
    /// A shape.
    shape: Shape,
    /// By how much.
    by: f64,
}

#[arguments]
pub struct Any {
    /// Anything.
    value: serde_json::Value,
}

#[arguments]
#[derive(serde::Serialize)]
pub struct Umlaut {
    /// A size.
    größe: f64,
}

/// The other one.
#[tool]
pub fn not(args: Flag) -> Result<Json<bool>> {
    Ok(Json(!args.value))
}

/// Returns null.
#[tool]
pub fn nothing(Null { value: () }: Null) -> Result<Json<()>> {
    Ok(Json(()))
}

/// Whether a text was given.
#[tool]
pub fn maybe(args: Maybe) -> Result<Json<Given>> {
    Ok(Json(Given { given: args.value.is_some(), value: args.value }))
}

/// Returns the integer, if there is one.
#[tool]
pub fn maybe_number(args: MaybeNumber) -> Result<Json<Option<i64>>> {
    Ok(Json(args.value))
}

/// Returns what was given or stands for it.
#[tool]
pub fn defaults(Defaults { text, count, flag, ratio, list }: Defaults) -> Result<Json<Defaulted>> {
    Ok(Json(Defaulted { text, count, flag, ratio, list }))
}

/// The place of a color.
#[tool]
pub fn color(OneColor { color }: OneColor) -> Result<Json<Indexed>> {
    Ok(Json(Indexed { color, index: color as usize }))
}

/// Counts colors, in the order of their names.
#[tool]
pub fn count_colors(args: Colors) -> Result<Json<BTreeMap<String, i64>>> {
    let mut counts = BTreeMap::new();
    for color in args.colors {
        *counts.entry(color.name().to_owned()).or_default() += 1;
    }
    Ok(Json(counts))
}

/// Returns the person.
#[tool]
pub fn person(args: Person) -> Result<Json<Human>> {
    Ok(Json(args.person))
}

/// Returns what lies deep.
#[tool]
pub fn deep(args: A) -> Result<Json<Deep>> {
    let back = args.a.b;
    Ok(Json(Deep { d: back.c.d, back }))
}

/// Returns the keys in the order of the schema.
#[tool]
pub fn key_order(args: Keys) -> Result<Json<Keys>> {
    Ok(Json(args))
}

/// Returns the map in the order of the bytes of its keys.
#[tool]
pub fn sorted_map(args: Counts) -> Result<Json<BTreeMap<String, i64>>> {
    Ok(Json(args.values))
}

/// The lengths of lists, in the order of the bytes of their names.
#[tool]
pub fn map_sizes(args: Lists) -> Result<Json<BTreeMap<String, i64>>> {
    Ok(Json(args.values.into_iter().map(|(name, list)| (name, list.len() as i64)).collect()))
}

/// Returns the points in the order of the bytes of their names.
#[tool]
pub fn map_of_points(args: Places) -> Result<Json<BTreeMap<String, Point>>> {
    Ok(Json(args.points))
}

/// Turns rows into columns.
#[tool]
pub fn transpose(Rows { rows }: Rows) -> Result<Json<Vec<Vec<f64>>>> {
    let width = rows.first().map_or(0, Vec::len);
    if rows.iter().any(|row| row.len() != width) {
        return Err("the rows have different lengths".into());
    }
    Ok(Json((0..width).map(|i| rows.iter().map(|row| row[i]).collect()).collect()))
}

/// The box around points.
#[tool]
pub fn bounds(args: Points) -> Result<Json<Option<Bounds>>> {
    let corner = |pick: fn(f64, f64) -> f64| args.points.iter().copied().reduce(|a, b| Point { x: pick(a.x, b.x), y: pick(a.y, b.y) });
    let both = corner(f64::min).zip(corner(f64::max));
    Ok(Json(both.map(|(min, max)| Bounds { min, max })))
}

/// Which of the two it is.
#[tool]
pub fn text_or_integer(Either { value }: Either) -> Result<Json<Told>> {
    let kind = match value {
        TextOrInteger::Text(_) => "text",
        TextOrInteger::Integer(_) => "integer",
    };
    Ok(Json(Told { kind, value }))
}

/// Always many.
#[tool]
pub fn one_or_many(args: Some) -> Result<Json<Vec<String>>> {
    Ok(Json(match args.value {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    }))
}

/// The area of a shape.
#[tool]
pub fn area(args: OneShape) -> Result<Json<f64>> {
    Ok(Json(match args.shape {
        Shape::Circle { radius } => std::f64::consts::PI * radius * radius,
        Shape::Rectangle { width, height } => width * height,
    }))
}

/// A larger shape.
#[tool]
pub fn grown(Grow { shape, by }: Grow) -> Result<Json<Shape>> {
    Ok(Json(match shape {
        Shape::Circle { radius } => Shape::Circle { radius: radius * by },
        Shape::Rectangle { width, height } => Shape::Rectangle { width: width * by, height: height * by },
    }))
}

/// The kind of a value.
#[tool]
pub fn kind_of(args: Any) -> Result<String> {
    let kind = match args.value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    };
    Ok(kind.to_owned())
}

/// Has a name that is not ASCII.
#[tool]
pub fn umlaut(args: Umlaut) -> Result<Json<Umlaut>> {
    Ok(Json(args))
}
