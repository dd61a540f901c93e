/// How much of a message's structure is looked at; what lies beyond is treated as plain content.
package struct StructureLimits: Sendable {
    /// Multiparts and messages within each other.
    package var depth = 50
    /// In the whole message.
    package var parts = 2000
    /// Of one header that are looked at. Octets.
    package var header = 256 * 1024
    /// Of all headers that are looked at. Octets.
    package var headers = 2 * 1024 * 1024
    /// Of one header that are looked at.
    package var fields = 5000

    package init() {}
}

/// What a parser finds in a message, in the message's order. Offsets are octets from the start of the message.
package enum MessageEvent {
    /// A message, or another part, begins with its header.
    case partBegin(at: Int, isMessage: Bool)
    /// A field: where it is with its line ends, its name, and its value as it is written, folds and all.
    case field(Range<Int>, name: ArraySlice<UInt8>, value: ArraySlice<UInt8>)
    /// The body begins.
    case headerEnd(at: Int, HeaderBlock, ContentFields)
    /// Octets of the body of a part that has no parts; valid during the call. Where the pieces are cut depends on the
    /// pieces that the parser was fed.
    case body(at: Int, UnsafeRawBufferPointer)
    /// Octets of a multipart that belong to no part: before the first, behind the last, or of one that has none; valid during
    /// the call.
    case outside(at: Int, UnsafeRawBufferPointer)
    /// The part ends: its body without the line end that belongs to the delimiter behind it, the line ends in the body,
    /// and what is wrong with the part.
    case partEnd(body: Range<Int>, lines: Int, Defects)
}
