//! What the attribute refuses says why, and where.

#[test]
fn a_mistake_in_the_attribute_or_the_function_is_told_where_it_is() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
