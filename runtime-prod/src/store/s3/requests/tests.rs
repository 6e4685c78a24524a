use super::*;

#[test]
fn a_part_is_asked_for_as_http_counts() {
    assert_eq!(range(Span::Whole), None);
    assert_eq!(range(Span::Range { at: 5, len: 1 }).as_deref(), Some("bytes=5-5"));
    assert_eq!(range(Span::Range { at: 0, len: 4096 }).as_deref(), Some("bytes=0-4095"));
    let endless = range(Span::Range { at: 7, len: u64::MAX });
    assert_eq!(endless.as_deref(), Some("bytes=7-18446744073709551614"));
    assert_eq!(range(Span::Last { len: 48 }).as_deref(), Some("bytes=-48"));
}

#[test]
fn only_the_part_that_was_asked_for_is_taken() {
    let (middle, last) = (Span::Range { at: 5, len: 10 }, Span::Last { len: 10 });
    for (span, len, told, total) in [
        (middle, 10, Some("bytes 5-14/100"), Some(100)),
        (middle, 3, Some("bytes 5-7/8"), Some(8)),
        (last, 10, Some("bytes 90-99/100"), Some(100)),
        (last, 4, Some("bytes 0-3/4"), Some(4)),
        (middle, 10, None, None),
        (middle, 9, Some("bytes 5-14/100"), None),
        (middle, 10, Some("bytes 0-9/100"), None),
        (middle, 10, Some("bytes 6-14/100"), None),
        (middle, 10, Some("bytes 5-15/100"), None),
        (middle, 9, Some("bytes 5-13/100"), None),
        (last, 10, Some("bytes 0-9/100"), None),
        (middle, 100, Some("bytes 0-99/100"), None),
        (middle, 10, Some("bytes 5-14/*"), None),
        (middle, 10, Some("items 5-14/100"), None),
        (middle, 10, Some("bytes 5-14"), None),
        (middle, 10, Some("bytes 5-18446744073709551615/100"), None),
        (middle, 10, Some("bytes 14-5/1"), None),
        (Span::Range { at: u64::MAX, len: 9 }, 9, Some("bytes 0-8/9"), None),
    ] {
        assert_eq!(part_of(span, len, told), total, "{span:?} {len} {told:?}");
    }
}

#[test]
fn a_part_without_bytes_is_one_where_the_object_ends() {
    assert!(is_empty(Span::Range { at: 5, len: 0 }, 100));
    assert!(is_empty(Span::Range { at: 100, len: 1 }, 100));
    assert!(is_empty(Span::Last { len: 9 }, 0));
    assert!(!is_empty(Span::Range { at: 99, len: 1 }, 100));
    assert!(!is_empty(Span::Last { len: 9 }, 100));
}
