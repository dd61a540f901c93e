import SMTP

/// `etc/users` as it was read.
package struct AccountTable: Sendable {
    private var accounts: [AddressKey: Account] = [:]
    /// A hash of the kind that most accounts have: what an unknown user's password is compared with, at equal cost.
    package private(set) var typicalHash: String?

    package init() {}

    /// - Throws: `TableError` for the first line that can't be understood, or that names an address again.
    package init(text: String, file: String) throws(TableError) {
        var schemes: [Substring: (count: Int, hash: String)] = [:]
        for (index, line) in text.tableLines.enumerated() {
            if line.isEmpty || line.first == "#" { continue }
            let account: Account
            switch Account.parse(line) {
            case .success(let parsed): account = parsed
            case .failure(let fault): throw TableError(file: file, line: index + 1, reason: fault.reason)
            }
            guard accounts.updateValue(account, forKey: AddressKey(account.address)) == nil else {
                throw TableError(file: file, line: index + 1, reason: "\(account.address) is there already")
            }
            let scheme = account.hash.prefix { $0 != "," }.split(separator: "$").first ?? ""
            if PasswordHash.isKnown(account.hash) {
                schemes[scheme] = ((schemes[scheme]?.count ?? 0) + 1, account.hash)
            }
        }
        typicalHash = schemes.values.max { $0.count < $1.count }?.hash
    }

    /// All accounts, by address.
    package var all: [Account] { accounts.values.sorted { $0.address.description < $1.address.description } }

    subscript(key: AddressKey) -> Account? { accounts[key] }

    /// The account with exactly this address, but for case.
    package subscript(address: MailAddress) -> Account? { accounts[AddressKey(address)] }
}
