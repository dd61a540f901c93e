import MIME

/// The DKIM signatures of a header, read once for all who ask: which hashes of the body are needed, where the keys are,
/// and whether they hold.
struct HeaderSignatures: Sendable {
    struct Entry: Sendable {
        /// The field's place in the header.
        let place: Int
        let signature: Result<DKIMSignature, SignatureFault>
    }

    /// From the top, within the limit.
    let entries: [Entry]
    /// The place of the first one beyond the limit, and how many there are of these.
    let rest: (place: Int, count: Int)?

    init(_ header: HeaderBlock, limit: Int) {
        let places = header.fields.indices.filter {
            ASCII.equal(header.octets[header.fields[$0].name], "dkim-signature")
        }
        entries = places.prefix(limit).map { place in
            Entry(
                place: place,
                signature: Result { () throws(SignatureFault) in
                    try DKIMSignature(field: header.octets[header.fields[place].value], kind: .message)
                }
            )
        }
        rest = places.dropFirst(limit).first.map { ($0, places.count - limit) }
    }

    /// Those that could be read.
    var read: [DKIMSignature] { entries.compactMap { try? $0.signature.get() } }
}
