//! What does not compile, and what the compiler says about it.

#[test]
fn misshapen_relationships_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misshapen/*.rs");
}
