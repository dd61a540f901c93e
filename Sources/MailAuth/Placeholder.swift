/// What a message says of its origin.
package enum MailAuth {}
