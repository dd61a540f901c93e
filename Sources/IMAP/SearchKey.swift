/// SEARCH (RFC 3501 §6.4.4) and its ESEARCH options (RFC 4731).
package struct SearchCommand: Sendable, Equatable {
    package enum Result: String, Sendable, Equatable, CaseIterable {
        case min = "MIN"
        case max = "MAX"
        case all = "ALL"
        case count = "COUNT"
    }

    /// nil for the plain SEARCH response.
    package var results: [Result]?
    package var charset: [UInt8]?
    package var key: SearchKey

    package init(results: [Result]? = nil, charset: [UInt8]? = nil, key: SearchKey) {
        self.results = results
        self.charset = charset
        self.key = key
    }
}

/// What a message must be like. Dates are days since 1970-01-01.
package indirect enum SearchKey: Sendable, Equatable {
    case all
    case sequence(SequenceSet)
    case uid(SequenceSet)
    case flag(Flag)
    case new
    case recent
    /// INTERNALDATE, without time and zone.
    case before(Int)
    case on(Int)
    case since(Int)
    /// The Date field, without time and zone.
    case sentBefore(Int)
    case sentOn(Int)
    case sentSince(Int)
    case larger(Int)
    case smaller(Int)
    /// A header field whose value contains the text; an empty text: that has the field.
    case header(name: [UInt8], text: [UInt8])
    case body([UInt8])
    case text([UInt8])
    case not(SearchKey)
    case or(SearchKey, SearchKey)
    case and([SearchKey])
}
