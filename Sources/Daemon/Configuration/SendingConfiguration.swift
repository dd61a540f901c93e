/// `[authd.sending]`: what an account may send, so that a stolen password doesn't ruin the host's name. 0 for no limit.
package struct SendingConfiguration: Sendable, Equatable {
    package var messagesPerHour = 300
    package var messagesPerDay = 1500
    package var recipientsPerHour = 1000
    package var recipientsPerDay = 3000
    /// Accounts with limits of their own, by address in lower case.
    package var accounts: [String: SendingConfiguration] = [:]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        try read(table)
        let names = try table.table("accounts")
        let standard = self
        for name in names.keys {
            guard name.contains("@") else { throw names.error(name, "is not an address") }
            var own = standard
            try own.read(try names.table(name))
            accounts[name.lowercased()] = own
        }
    }

    private mutating func read(_ table: ConfigurationTable) throws(ConfigurationError) {
        let range = 0...1_000_000_000
        messagesPerHour = try table.integer("messages-per-hour", default: messagesPerHour, in: range)
        messagesPerDay = try table.integer("messages-per-day", default: messagesPerDay, in: range)
        recipientsPerHour = try table.integer("recipients-per-hour", default: recipientsPerHour, in: range)
        recipientsPerDay = try table.integer("recipients-per-day", default: recipientsPerDay, in: range)
    }
}
