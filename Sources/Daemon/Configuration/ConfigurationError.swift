/// What is wrong with the configuration: where, which key, and why.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    package let file: String
    /// Counted from 1; nil where no line is to blame.
    package let line: Int?
    /// Dotted, as in `smtpd.maximum-message`; nil where the file as a whole is to blame.
    package let key: String?
    package let reason: String

    package init(file: String, line: Int? = nil, key: String? = nil, reason: String) {
        self.file = file
        self.line = line
        self.key = key
        self.reason = reason
    }

    package var description: String {
        let place = line.map { "\(file):\($0)" } ?? file
        return key.map { "\(place): \($0): \(reason)" } ?? "\(place): \(reason)"
    }
}
