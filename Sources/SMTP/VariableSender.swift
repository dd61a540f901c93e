/// Variable envelope return paths: each recipient's mail has a sender of its own that names the recipient, so that whatever
/// comes back says by its address whose mail failed. `news@lists.example` and `ann@example.net` make
/// `news+ann=example.net@lists.example`. As Postfix's XVERP has it.
package struct VariableSender: Hashable, Sendable {
    /// Between the sender's local part and the recipient's.
    package let first: UInt8
    /// In place of the recipient's `@`.
    package let second: UInt8

    /// `+` and `=`.
    package static let standard = VariableSender(first: UInt8(ascii: "+"), second: UInt8(ascii: "="))

    private init(first: UInt8, second: UInt8) {
        self.first = first
        self.second = second
    }

    /// The two characters, as the parameter's value has them; nil for others than `-`, `+` and `=`.
    package init?(_ text: some Sequence<UInt8>) {
        let octets = Array(text.prefix(3))
        guard octets.count == 2, octets.allSatisfy({ "-+=".utf8.contains($0) }) else { return nil }
        self.init(first: octets[0], second: octets[1])
    }

    /// As the parameter's value has it.
    package var text: String { String(decoding: [first, second], as: UTF8.self) }

    /// The sender for one recipient; the sender itself where no address can be made of both, or where it's the null one.
    package func path(_ sender: ReversePath, for recipient: MailAddress) -> ReversePath {
        guard let address = sender.address, !recipient.isAddressLiteral else { return sender }
        let ends = [first, second].map { String(decoding: [$0], as: UTF8.self) }
        let local = "\(address.localPart)\(ends[0])\(recipient.localPart)\(ends[1])\(recipient.domain)"
        return (try? MailAddress(localPart: local, domain: address.domain)).map { ReversePath($0) } ?? sender
    }
}
