//! The kinds of fault, each with the stable code under which the page of schema errors explains it.

/// How a finding is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

macro_rules! codes {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// What is wrong, or odd. Codes are never used again for something else; `F09..` are warnings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Code { $($name),* }

        impl Code {
            pub(crate) const ALL: &[Code] = &[$(Code::$name),*];

            pub(crate) fn text(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }
        }
    };
}

codes! {
    // The text.
    Character = "F0101",
    Unclosed = "F0102",
    Unexpected = "F0103",
    InvalidName = "F0104",
    Nesting = "F0105",
    TextTooLong = "F0106",
    MixedOperators = "F0107",
    UnknownFeature = "F0108",
    ArrowChain = "F0109",
    DirectNotFirst = "F0110",
    BadDecorator = "F0111",
    // Names.
    UnknownType = "F0201",
    UnknownSlot = "F0202",
    UnknownCondition = "F0203",
    TypeTwice = "F0204",
    SlotTwice = "F0205",
    ConditionTwice = "F0206",
    SubjectTwice = "F0207",
    UnknownPartial = "F0208",
    UnknownTarget = "F0209",
    ReservedName = "F0210",
    ParameterTwice = "F0211",
    PartialTwice = "F0212",
    // The rules of the languages.
    ArrowStart = "F0301",
    ArrowWildcard = "F0302",
    ExcludesItself = "F0304",
    ExcludesTooDeep = "F0305",
    NoEntryPoint = "F0306",
    AnnotationMismatch = "F0307",
    NoSubjectTypes = "F0308",
    RuleTooDeep = "F0309",
    // Conditions.
    ExpressionSyntax = "F0401",
    UndeclaredName = "F0402",
    UnknownParameterType = "F0403",
    ExpressionTooLarge = "F0404",
    NoParameters = "F0405",
    // Parts: imports, partials, modules.
    MissingImport = "F0501",
    CircularImport = "F0502",
    CircularPartial = "F0503",
    BadModFile = "F0504",
    MissingModule = "F0505",
    ExtendsUnknown = "F0506",
    BadHeader = "F0507",
    BadVersion = "F0508",
    // Limits.
    TooManySlots = "F0601",
    TooLarge = "F0602",
    // Warnings.
    UnusedCondition = "F0901",
    UnusedParameter = "F0902",
    NeverHeld = "F0903",
    Impossible = "F0904",
    Unreachable = "F0905",
    CyclicExclusion = "F0906",
    DeprecatedUse = "F0907",
    ArrowUserset = "F0908",
    UnknownFunction = "F0909",
    UnusedPartial = "F0910",
    WildcardUserset = "F0911",
    ArrowNowhere = "F0912",
}

impl Code {
    pub(crate) fn severity(self) -> Severity {
        if self.text().starts_with("F09") { Severity::Warning } else { Severity::Error }
    }
}
