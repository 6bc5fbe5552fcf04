//! `#[resilient]`, the attribute that makes a function a named operation. It is to be had as
//! `#[steadfast::resilient]`, by the feature `macros` of `steadfast-std`, and documented there.

mod declared;
mod function;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

use declared::Declared;

/// Makes a function a named operation: its body is attempted, retried and given up by the settings
/// of the operation, and its signature stays as it is.
///
/// ```
/// use steadfast::{Class, Classify, Verdict};
/// use steadfast_std::{Resilience, Stopped, install};
///
/// #[steadfast::resilient("ai_summarize", strategy = "critical", fallback = first_line)]
/// async fn summarize(text: &str) -> Result<String, AppError> {
///     // .. ask the model ..
/// #   Err(AppError::Unavailable)
/// }
///
/// async fn first_line(text: &str, _error: AppError) -> Result<String, AppError> {
///     text.lines().next().map(str::to_owned).ok_or(AppError::Unavailable)
/// }
/// #
/// # #[derive(Debug)]
/// enum AppError { Unavailable }
///
/// impl Classify for AppError {
///     fn verdict(&self) -> Verdict { Verdict::of(Class::Permanent) }
/// }
///
/// impl From<Stopped> for AppError {
///     fn from(_: Stopped) -> Self { Self::Unavailable }
/// }
///
/// install(Resilience::new())?; // once, where the process begins
/// # steadfast::ManualClock::new().block_on(async {
/// # assert_eq!(summarize("one\ntwo").await.unwrap(), "one");
/// # });
/// # Ok::<(), steadfast_std::AlreadyInstalled>(())
/// ```
///
/// The function is `async` or not, a free one or a method by `&self`, generic or not. It returns
/// `Result<T, E>` under whatever name:
///
/// - `E: From<Stopped>`. The operation's own last error is returned as it is; where there is none,
///   because every attempt was refused or ran out of time, `Stopped` says why.
/// - `E: Classify`, unless `classify` or `retry_all` is given.
/// - Arguments are cloned for each attempt, and once for the fallback; references just work.
///
/// # What is given
///
/// | | |
/// |---|---|
/// | `"name"` | the operation, 1 to 32 bytes |
/// | `strategy = "critical"` | or `aggressive`, `balanced`, `conservative`; without it, the default strategy |
/// | `fallback = path` | gets the same arguments and the error, and returns the same type; `async` if the function is |
/// | `classify = path` | a function `fn(&E) -> Verdict` |
/// | `retry_all` | takes every error for a transient one |
/// | `orchestrator = expression` | a `&'static Orchestrator<..>`, evaluated until the operation is registered; without it, that of the `Resilience` which the process has installed |
/// | `clock = expression` | evaluated in each call; without it, `TokioClock` if the function is `async`, else `ThreadClock` |
/// | `crate = path` | where `steadfast-std` is, if not at `::steadfast_std`: renamed, or re-exported by another crate |
///
/// The attribute is `steadfast::resilient` and `steadfast_std::resilient`. Either way its code is in
/// `steadfast-std`, whose feature `macros` turns on that of `steadfast`: a project that has
/// `steadfast` alone has no use for it.
///
/// # Registration
///
/// The operation is registered with the strategy when the function is first called, unless somebody
/// has registered it before. A live configuration that names it wins over both.
///
/// An operation that cannot be registered, or nothing installed, is an error at each call until that
/// is mended. The fallback is not asked: this is a mistake of the program, and not of the service.
///
/// # Spans
///
/// With the feature `tracing` of `steadfast-std`, each call is a span as of `observe::Trace::traced`.
///
/// # Cancel-safety
///
/// That of an execution: dropped at any point, the call gives everything back.
///
/// # Blocking
///
/// A function that is not `async` blocks between attempts, and nobody cuts an attempt short.
///
/// # What does not compile
///
/// An argument that cannot be cloned:
///
/// ```compile_fail,E0277
/// struct Prompt(String);
///
/// #[steadfast::resilient("ask", retry_all)]
/// fn ask(prompt: Prompt) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(prompt.0)
/// }
/// ```
///
/// A `crate` that is none:
///
/// ```compile_fail,E0433
/// #[steadfast::resilient("ask", retry_all, crate = steadfast_standard)]
/// fn ask(prompt: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(prompt.to_owned())
/// }
/// ```
///
/// Errors that nobody classifies:
///
/// ```compile_fail,E0277
/// #[steadfast::resilient("ask")]
/// fn ask(prompt: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(prompt.to_owned())
/// }
/// ```
#[proc_macro_attribute]
pub fn resilient(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    let expanded = syn::parse::<Declared>(attribute)
        .and_then(|declared| function::expand(&declared, &function));
    match expanded {
        Ok(expanded) => expanded.into(),
        Err(error) => {
            // With the function as it stands: who calls it is not told that it is missing too.
            let mut tokens = error.into_compile_error();
            tokens.extend(quote::quote!(#function));
            tokens.into()
        }
    }
}
