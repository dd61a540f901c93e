import SMTP

/// Why authd did not give what it was asked for.
package enum AccountsError: Error, Equatable {
    /// authd said no, for good; the text is for people.
    case refused(status: EnhancedStatusCode, text: String)
    /// authd can't say now; the same question may be answered later.
    case deferred(status: EnhancedStatusCode, text: String)
    /// authd is down, didn't answer in time, or answered what nobody understands; the reason.
    case unavailable(String)
}
