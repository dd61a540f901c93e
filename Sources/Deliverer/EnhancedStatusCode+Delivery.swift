import SMTP

extension EnhancedStatusCode {
    /// 4.4.4: nobody knows a way to where the mail goes (RFC 3463 §3.5).
    package static let noRoute = EnhancedStatusCode(4, 4, 4)
    /// 4.3.5: something is configured wrongly, which the administrator can mend (RFC 3463 §3.4).
    package static let misconfigured = EnhancedStatusCode(4, 3, 5)
}
