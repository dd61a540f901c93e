import MIME
import MailAuth
import SMTP

/// Senders of what is forwarded to other hosts, as addresses of a domain of ours (the Sender Rewriting Scheme): the next host's SPF
/// sees a domain that may send from here, and bounces find their way back.
package struct ForwardedSender: Sendable {
    /// In lower case.
    private let domain: String
    private let scheme: SenderRewriting

    /// - Parameter secrets: a line each: the first for new addresses, the others are still believed. What stands behind `#` at a
    ///   line's beginning is passed over.
    /// - Throws: where there is no secret.
    package init(domain: String, secrets: String) throws(NoSecret) {
        let lines = secrets.split(whereSeparator: \.isNewline).filter { $0.first != "#" }
        let octets = lines.map { Array($0.utf8).filter { $0 > 0x20 } }.filter { !$0.isEmpty }
        guard !octets.isEmpty else { throw NoSecret() }
        self.domain = domain.lowercased()
        scheme = SenderRewriting(secrets: octets)
    }

    /// There is no secret to make addresses with.
    package struct NoSecret: Error, CustomStringConvertible {
        package let description = "the file of srs.secrets has no secret"
    }

    /// The address to send on with.
    ///
    /// - Parameters:
    ///   - local: the domains that are ours: their senders stay as they are.
    ///   - seconds: since 1970.
    /// - Returns: nil where the sender is to stay, also since it can't be put into another address.
    package func rewritten(_ sender: MailAddress, local: Set<String>, at seconds: Int) -> MailAddress? {
        guard !local.contains(sender.lowercasedDomain), sender.lowercasedDomain != domain,
            let octets = try? scheme.forward(
                Array(sender.description.utf8),
                by: Array(domain.utf8),
                secondsSince1970: seconds
            )
        else { return nil }
        return try? MailAddress(parsing: octets, options: .envelope)
    }

    /// What an address stands for.
    package enum Origin: Equatable, Sendable {
        /// It isn't one of these.
        case other
        case sender(MailAddress)
        /// It looks like one, and nobody here made it, or that was too long ago.
        case forged
    }

    /// The sender that an address was made from.
    ///
    /// - Parameter seconds: since 1970.
    package func origin(of address: MailAddress, at seconds: Int) -> Origin {
        let octets = Array(address.description.utf8)
        guard address.lowercasedDomain == domain, SenderRewriting.isRewritten(octets) else { return .other }
        guard let sender = try? scheme.reverse(octets, secondsSince1970: seconds),
            let address = try? MailAddress(parsing: sender, options: .envelope)
        else { return .forged }
        return .sender(address)
    }
}
