import SMTP

/// Why authd gave no positive answer.
package enum AccountsError: Error, Equatable {
    /// authd refused, for good; the text is for people.
    case refused(status: EnhancedStatusCode, text: String)
    /// authd has no answer for now; the same request may be answered later.
    case deferred(status: EnhancedStatusCode, text: String)
    /// authd is down, didn't answer in time, or answered what nobody understands; the reason.
    case unavailable(String)
}
