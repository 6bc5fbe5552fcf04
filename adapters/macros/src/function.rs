//! What the function becomes.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, FnArg, Ident, ItemFn, Pat, Receiver, Result, ReturnType, Signature, Type};

use crate::declared::{Classifier, Declared};

/// An argument: what it is called in the signature, and what the body binds it to.
struct Argument {
    outside: Ident,
    inside: Pat,
    span: Span,
}

pub(crate) fn expand(declared: &Declared, function: &ItemFn) -> Result<TokenStream> {
    let ItemFn { attrs, vis, sig, block } = function;
    let answer = answer(sig)?;
    let (receiver, arguments, inputs) = arguments(sig)?;
    let signature = Signature { inputs, ..sig.clone() };

    let std = match &declared.home {
        None => quote!(::steadfast_std::__macros),
        Some(home) => quote!(#home::__macros),
    };
    let [handle, operation, error] = ["handle", "operation", "error"].map(local);
    let name = &declared.name;
    let making = make_handle(declared, &std);
    let classified = match &declared.classifier {
        None => quote!(),
        Some(Classifier::RetryAll) => quote!(.retry_all()),
        Some(Classifier::Given(classifier)) => quote!(.classify(#classifier)),
    };
    let clock = match (&declared.clock, sig.asyncness) {
        (Some(clock), _) => clock.to_token_stream(),
        (None, Some(_)) => quote!(#std::TokioClock::new()),
        (None, None) => quote!(#std::ThreadClock::new()),
    };
    let cloned = arguments.iter().map(|Argument { outside, inside, span }| {
        quote_spanned!(*span=> let #inside = #std::cloned_for_each_attempt(&#outside);)
    });
    let attempts = if sig.asyncness.is_some() {
        quote! {
            move || {
                #(#cloned)*
                async move {
                    // The type of the block, for each `?` in it.
                    if let ::core::option::Option::Some(answer) = ::core::option::Option::None::<#answer> {
                        return answer;
                    }
                    let answer: #answer = #block;
                    answer
                }
            }
        }
    } else {
        quote!(move |_| -> #answer { #(#cloned)* #block })
    };
    let (to_fallback, execution) = match &declared.fallback {
        None if sig.asyncness.is_some() => {
            let execution = quote!(#handle.execute(#clock, #operation).await);
            (quote!(), quote!(#execution.map_err(|#error| #std::error(#name, #error))))
        }
        None => {
            let execution = quote!(#handle.execute_blocking(#clock, #operation));
            (quote!(), quote!(#execution.map_err(|#error| #std::error(#name, #error))))
        }
        Some(fallback) => {
            let kept: Vec<Ident> = arguments
                .iter()
                .map(|argument| {
                    format_ident!("kept_{}", argument.outside, span = Span::mixed_site())
                })
                .collect();
            let outside = arguments.iter().map(|argument| &argument.outside);
            let to_fallback = quote!(#(let #kept = #std::cloned_for_each_attempt(&#outside);)*);
            let first = receiver.map(|receiver| receiver.self_token).into_iter();
            let asked = quote!(#fallback(#(#first,)* #(#kept,)* #std::error(#name, #error)));
            let execution = if sig.asyncness.is_some() {
                quote! {
                    #handle
                        .execute_or_else_async(#clock, #operation, move |#error| async move {
                            #asked.await.map_err(#std::OrElseError::Fallback)
                        })
                        .await
                }
            } else {
                quote! {
                    #handle.execute_blocking_or_else(#clock, #operation, move |#error| {
                        #asked.map_err(#std::OrElseError::Fallback)
                    })
                }
            };
            (to_fallback, quote!(#execution.map_err(|#error| #std::fallback_error(#name, #error))))
        }
    };
    Ok(quote! {
        #(#attrs)*
        #vis #signature {
            let #handle = match { #making } {
                ::core::result::Result::Ok(handle) => #std::executing(handle #classified),
                ::core::result::Result::Err(stopped) => {
                    return ::core::result::Result::Err(::core::convert::From::from(stopped));
                }
            };
            #to_fallback
            #[allow(
                unreachable_code,
                clippy::let_and_return,
                clippy::diverging_sub_expression,
                clippy::needless_return,
                clippy::question_mark,
                clippy::unused_async
            )]
            let #operation = #attempts;
            #execution
        }
    })
}

/// The block that finds the operation, away from what the function's own names may mean.
fn make_handle(declared: &Declared, std: &TokenStream) -> TokenStream {
    let name = &declared.name;
    let handle = match &declared.orchestrator {
        None => quote!(installed()),
        Some(orchestrator) => quote!(of(|| #orchestrator)),
    };
    let strategy = match &declared.strategy {
        None => quote!(::core::option::Option::None),
        Some(strategy) => quote!(::core::option::Option::Some(#std::Strategy::#strategy)),
    };
    quote! {
        static __STEADFAST_DECLARED: #std::Declared = #std::Declared::new(#name, #strategy);
        // A function, since what it evaluates once cannot depend on one call's arguments.
        fn __steadfast_handle()
        -> ::core::result::Result<#std::Handle<'static>, #std::Stopped> {
            __STEADFAST_DECLARED.#handle
        }
        __steadfast_handle()
    }
}

/// The type that the function returns.
fn answer(sig: &Signature) -> Result<&Type> {
    match &sig.output {
        ReturnType::Default => {
            Err(Error::new(sig.ident.span(), "a resilient function returns `Result<T, E>`"))
        }
        ReturnType::Type(_, answer) if mentions_impl(answer.to_token_stream()) => {
            let message = "a resilient function names the type that it returns, without `impl`";
            Err(Error::new(answer.span(), message))
        }
        ReturnType::Type(_, answer) => Ok(answer),
    }
}

fn mentions_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "impl",
        TokenTree::Group(group) => mentions_impl(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

type Inputs = syn::punctuated::Punctuated<FnArg, syn::Token![,]>;

/// The function's arguments, and what its signature calls them.
fn arguments(sig: &Signature) -> Result<(Option<&Receiver>, Vec<Argument>, Inputs)> {
    let mut receiver = None;
    let mut arguments = Vec::new();
    let mut inputs = sig.inputs.clone();
    for (number, (input, outer)) in sig.inputs.iter().zip(&mut inputs).enumerate() {
        let (argument, outer) = match (input, outer) {
            (FnArg::Typed(argument), FnArg::Typed(outer)) => (argument, outer),
            (FnArg::Receiver(by), _) => {
                check_receiver(by)?;
                receiver = Some(by);
                continue;
            }
            (FnArg::Typed(_), FnArg::Receiver(_)) => continue,
        };
        if let Type::Reference(reference) = &*argument.ty {
            if reference.mutability.is_some() {
                let message = "attempts cannot share a `&mut`: give them something to clone";
                return Err(Error::new(argument.ty.span(), message));
            }
        }
        let outside = match &*argument.pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => pat.ident.clone(),
            _ => format_ident!("argument_{}", number + 1, span = Span::mixed_site()),
        };
        *outer.pat = syn::parse_quote!(#outside);
        arguments.push(Argument {
            outside,
            inside: (*argument.pat).clone(),
            span: argument.ty.span(),
        });
    }
    Ok((receiver, arguments, inputs))
}

/// Only `&self` can be had by several attempts without a word.
fn check_receiver(receiver: &Receiver) -> Result<()> {
    match receiver.reference {
        Some(_) if receiver.mutability.is_none() && receiver.colon_token.is_none() => Ok(()),
        _ => Err(Error::new(receiver.span(), "a resilient method takes `&self`")),
    }
}

/// A name that the function's own code cannot mean.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
