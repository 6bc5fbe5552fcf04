//! What the attribute is given.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprPath, Ident, LitStr, Path, Result, Token};

/// An operation as its function declares it.
pub(crate) struct Declared {
    pub(crate) name: LitStr,
    /// One of the four, as the enum spells it.
    pub(crate) strategy: Option<Ident>,
    pub(crate) fallback: Option<ExprPath>,
    pub(crate) classifier: Option<Classifier>,
    pub(crate) orchestrator: Option<Expr>,
    pub(crate) clock: Option<Expr>,
    /// Where `steadfast-std` is, under another name.
    pub(crate) home: Option<Path>,
}

/// Who tells errors apart, if not they themselves.
pub(crate) enum Classifier {
    RetryAll,
    Given(Expr),
}

impl Parse for Declared {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if !input.peek(LitStr) {
            let message = "the operation's name comes first: `#[resilient(\"name\")]`";
            return Err(Error::new(input.span(), message));
        }
        let name: LitStr = input.parse()?;
        check_name(&name)?;
        let mut declared = Self {
            name,
            strategy: None,
            fallback: None,
            classifier: None,
            orchestrator: None,
            clock: None,
            home: None,
        };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            declared.take(input)?;
        }
        Ok(declared)
    }
}

impl Declared {
    /// One argument after the name.
    fn take(&mut self, input: ParseStream<'_>) -> Result<()> {
        let key = input.call(Ident::parse_any)?;
        match key.to_string().as_str() {
            "strategy" => once(&mut self.strategy, &key, strategy(&value(input)?)?),
            "fallback" => once(&mut self.fallback, &key, value(input)?),
            "classify" => once(&mut self.classifier, &key, Classifier::Given(value(input)?)),
            "retry_all" => once(&mut self.classifier, &key, Classifier::RetryAll),
            "orchestrator" => once(&mut self.orchestrator, &key, value(input)?),
            "clock" => once(&mut self.clock, &key, value(input)?),
            "crate" => once(&mut self.home, &key, home(input)?),
            _ => {
                let message = format!(
                    "`{key}` is none of `strategy`, `fallback`, `classify`, `retry_all`, \
                     `orchestrator`, `clock` and `crate`"
                );
                Err(Error::new(key.span(), message))
            }
        }
    }
}

fn value<T: Parse>(input: ParseStream<'_>) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn home(input: ParseStream<'_>) -> Result<Path> {
    input.parse::<Token![=]>()?;
    let span = input.span();
    input.call(Path::parse_mod_style).map_err(|_| {
        Error::new(span, "`crate` is the path of `steadfast-std`, such as `crate = resilience`")
    })
}

fn once<T>(to: &mut Option<T>, key: &Ident, value: T) -> Result<()> {
    match to.replace(value) {
        None => Ok(()),
        Some(_) if key == "classify" || key == "retry_all" => Err(Error::new(
            key.span(),
            "errors are told apart by one of `classify` and `retry_all`",
        )),
        Some(_) => Err(Error::new(key.span(), format!("`{key}` is given twice"))),
    }
}

fn strategy(text: &LitStr) -> Result<Ident> {
    let variant = match text.value().as_str() {
        "aggressive" => "Aggressive",
        "balanced" => "Balanced",
        "conservative" => "Conservative",
        "critical" => "Critical",
        unknown => {
            let message =
                format!("`{unknown}` is none of aggressive, balanced, conservative, critical");
            return Err(Error::new(text.span(), message));
        }
    };
    Ok(Ident::new(variant, Span::call_site()))
}

fn check_name(name: &LitStr) -> Result<()> {
    let text = name.value();
    let message = match text.len() {
        0 => "an operation's name is not empty",
        1..=32 if text.contains('\0') => "an operation's name contains no NUL",
        1..=32 => return Ok(()),
        _ => "an operation's name has 32 bytes at most",
    };
    Err(Error::new(name.span(), message))
}
