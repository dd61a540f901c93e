import SMTP

/// A line that an SMTP client sends.
let smtpCommandTarget = FuzzTarget("smtp-command", maximum: 2048) { input in
    guard let command = try? SMTP.Command(parsing: Array(input)) else { return }
    switch command {
    case .mail(let path, _): _ = path.description
    case .rcpt(let path, _): _ = "\(path)"
    default: break
    }
}
