//! What authors read is what runs.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[test]
fn the_python_in_the_readme_is_of_the_example() {
    let (readme, example) = (include_str!("../README.md"), include_str!("../python/bot.py"));
    let quoted: Vec<_> =
        readme.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!quoted.is_empty());
    for quote in quoted {
        assert!(example.contains(quote), "not in bots/python/bot.py:\n{quote}");
    }
}
