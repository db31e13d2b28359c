//! The tools of the conformance table, in Rust.
#![allow(missing_docs, reason = "the table is their manual")]

mod host;
mod numbers;
mod results;
mod shapes;
mod strings;

use palisade_sdk::export;

export!(
    strings::echo,
    strings::echo_json,
    strings::lengths,
    strings::reverse,
    strings::repeat,
    strings::join,
    strings::lines,
    strings::sort,
    numbers::echo_i64,
    numbers::echo_u64,
    numbers::echo_safe,
    numbers::add,
    numbers::sum,
    numbers::percent,
    numbers::echo_number,
    numbers::divide,
    numbers::mean,
    numbers::numbers,
    shapes::not,
    shapes::nothing,
    shapes::maybe,
    shapes::maybe_number,
    shapes::defaults,
    shapes::color,
    shapes::count_colors,
    shapes::person,
    shapes::deep,
    shapes::key_order,
    shapes::sorted_map,
    shapes::map_sizes,
    shapes::map_of_points,
    shapes::transpose,
    shapes::bounds,
    shapes::text_or_integer,
    shapes::one_or_many,
    shapes::area,
    shapes::grown,
    shapes::kind_of,
    shapes::umlaut,
    results::no_arguments,
    results::empty_result,
    results::empty_text,
    results::text_and_json,
    results::many_texts,
    results::blob,
    results::mixed,
    results::big_list,
    results::big_blob,
    results::escapes,
    results::nulls,
    results::fail,
    results::fail_if_negative,
    host::log,
    host::progress,
    host::cancelled,
    host::store_set,
    host::store_get,
    host::store_keys,
    host::store_swap,
    host::store_delete
);
