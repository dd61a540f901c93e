/// What is wrong with a command; the text goes into a BAD response.
package struct SyntaxError: Error, Equatable, Sendable {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }
}
