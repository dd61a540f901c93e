import MailAuth
import NIOCore
import Reporting
import SMTP

/// What came of a message's authentication.
package struct AuthenticationVerdict: Sendable {
    package enum Action: Sendable, Equatable {
        case accept
        /// DMARC fails, but a trusted host saw it pass.
        case acceptAsForwarded(by: String)
        /// Delivered into the recipients' Junk.
        case quarantine
        case reject(EnhancedStatusCode, String)
        case `defer`(EnhancedStatusCode, String)
    }

    package let action: Action
    /// Authentication-Results and Received-SPF, for the top of the message.
    package let fields: ByteBuffer
    /// The client's name, if it and the address lead to each other.
    package let clientName: String?
    /// Results by their methods.
    package let results: [(method: String, result: String)]
    /// Domains of DKIM signatures that hold.
    package let signedBy: [String]
    /// Domains of those that can't be judged now.
    package let maybeSignedBy: [String]
    /// Why the first DKIM signature that isn't good is not, and why SPF doesn't pass, for the log; by method.
    package let reasons: [(method: String, reason: String)]
    /// What the author's domain may be told of it; nil for nothing.
    package let evaluation: DMARCEvaluation?
}
