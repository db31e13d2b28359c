//! The macros of `palisade-sdk`. Use them through that crate, whose documentation has the examples.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, FnArg, Ident, Item, ItemFn, Lit, LitStr, Meta, Path, ReturnType, Token, parse_macro_input};

/// Turns a struct into the arguments of a tool: deserialized, described by a schema, and closed to unknown fields.
#[proc_macro_attribute]
pub fn arguments(_: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as Item);
    quote! {
        #[derive(::palisade_sdk::serde::Deserialize, ::palisade_sdk::schemars::JsonSchema)]
        #[serde(crate = "::palisade_sdk::serde", deny_unknown_fields)]
        #[schemars(crate = "::palisade_sdk::schemars")]
        #item
    }
    .into()
}

/// Turns a struct into the JSON result of a tool: serialized, and described by a schema.
#[proc_macro_attribute]
pub fn output(_: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as Item);
    quote! {
        #[derive(::palisade_sdk::serde::Serialize, ::palisade_sdk::schemars::JsonSchema)]
        #[serde(crate = "::palisade_sdk::serde")]
        #[schemars(crate = "::palisade_sdk::schemars")]
        #item
    }
    .into()
}

#[derive(Default)]
struct Options {
    title: Option<LitStr>,
    hints: Vec<Ident>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        for meta in Punctuated::<Meta, Token![,]>::parse_terminated(input)? {
            match meta {
                Meta::NameValue(pair) if pair.path.is_ident("title") => match pair.value {
                    Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => options.title = Some(text),
                    other => return Err(Error::new_spanned(other, "the title is a string")),
                },
                Meta::Path(path) if ["read_only", "destructive", "idempotent", "open_world"].iter().any(|h| path.is_ident(h)) => {
                    options.hints.extend(path.get_ident().cloned());
                }
                other => return Err(Error::new_spanned(other, "write title = \"…\", read_only, destructive, idempotent or open_world")),
            }
        }
        Ok(options)
    }
}

/// Turns a function of one argument into a tool. Its name, with `-` for `_`, is the tool's; its doc comment is the
/// description an agent chooses by.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let function = parse_macro_input!(item as ItemFn);
    expand(&options, &function).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(options: &Options, function: &ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let ident = &function.sig.ident;
    let mut inputs = function.sig.inputs.iter();
    let (Some(FnArg::Typed(input)), None) = (inputs.next(), inputs.next()) else {
        return Err(Error::new_spanned(&function.sig, "a tool takes one argument, a struct marked #[arguments]"));
    };
    let ReturnType::Type(_, returns) = &function.sig.output else {
        return Err(Error::new_spanned(&function.sig, "a tool returns a Result"));
    };
    let description = description(function);
    if description.is_empty() {
        return Err(Error::new_spanned(&function.sig, "a tool needs a doc comment: it is the description an agent chooses by"));
    }
    let name = ident.to_string().replace('_', "-");
    let title = options.title.as_ref().map_or_else(|| quote!(None), |t| quote!(Some(#t)));
    let hints = &options.hints;
    // As visible as the function, so that `export!` finds it where it finds the function.
    let visibility = &function.vis;
    let (arguments, maker) = (&input.ty, format_ident!("__palisade_tool_{ident}"));
    Ok(quote! {
        #function
        #[doc(hidden)]
        #[allow(clippy::needless_update)]
        #visibility fn #maker() -> ::palisade_sdk::Tool {
            ::palisade_sdk::Tool::new::<#arguments, #returns>(
                #name, #title, #description,
                ::palisade_sdk::Hints { #(#hints: true,)* ..::palisade_sdk::Hints::default() },
                #ident,
            )
        }
    })
}

fn description(function: &ItemFn) -> String {
    let lines = function.attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}

struct Functions(Punctuated<Path, Token![,]>);

impl Parse for Functions {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Punctuated::parse_terminated_with(input, Path::parse_mod_style).map(Self)
    }
}

/// Exports the plugin's tools, named by their functions, which may stand in modules: `export!(count, files::read)`. Once
/// in a crate, at its root.
#[proc_macro]
pub fn export(input: TokenStream) -> TokenStream {
    let Functions(mut makers) = parse_macro_input!(input as Functions);
    for function in makers.iter_mut().filter_map(|path| path.segments.last_mut()) {
        function.ident = format_ident!("__palisade_tool_{}", function.ident);
    }
    let makers = makers.iter();
    quote! {
        #[doc(hidden)]
        #[allow(dead_code)]
        fn __palisade_tools() -> ::std::vec::Vec<::palisade_sdk::Tool> { ::std::vec![#(#makers()),*] }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs)]
        mod __palisade_export {
            struct Plugin;
            impl ::palisade_sdk::bindings::exports::palisade::plugin::tools::Guest for Plugin {
                fn definitions() -> ::std::vec::Vec<::palisade_sdk::bindings::palisade::plugin::types::ToolDefinition> {
                    ::palisade_sdk::definitions(&super::__palisade_tools())
                }
                fn call(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<::palisade_sdk::bindings::palisade::plugin::types::Content>,
                    ::palisade_sdk::bindings::palisade::plugin::types::ToolError,
                > {
                    ::palisade_sdk::call(&super::__palisade_tools(), &name, &arguments)
                }
            }
            ::palisade_sdk::bindings::export!(Plugin with_types_in ::palisade_sdk::bindings);
        }
    }
    .into()
}
